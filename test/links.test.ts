/** Every link of the pages opens, and so does every page and section that the sources cite. */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import t from 'tap'
import { filesIn, textOf } from './sources.ts'

const ROOT = join(import.meta.dirname, '..')
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')
const withoutCode = (page: string) => page.replace(/^```.*?^```$/gms, '')

const PAGES = globSync(['*.md', 'docs/**/*.md', 'bench/*.md'], { cwd: ROOT }).sort()

const headingsOf = (page: string) => [...withoutCode(read(page)).matchAll(/^#+ (.*)$/gm)].map(([, text = '']) => text)

/** A heading as the last part of a link names it. */
const slug = (heading: string) =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}_\- ]/gu, '')
    .replaceAll(' ', '-')

interface Link {
  link: string
  /** The file that must exist. */
  file: string
  /** The heading in it. */
  anchor: string | undefined
}

function linksOf(page: string): Link[] {
  return [...withoutCode(read(page)).matchAll(/\]\((?!https?:)([^)\s]+)\)/g)].map(([, link = '']) => {
    const [path = '', anchor] = link.split('#')
    return { link, file: path === '' ? page : relative(ROOT, join(ROOT, dirname(page), path)), anchor }
  })
}

function leadsNowhere({ file, anchor }: Link): boolean {
  if (file.startsWith('..') || !existsSync(join(ROOT, file))) return true
  return anchor !== undefined && !headingsOf(file).some((heading) => slug(heading) === anchor)
}

t.test('there are pages with links', async (t) => {
  t.ok(PAGES.includes('README.md') && PAGES.includes('docs/wechat/pay.md'))
  t.ok(PAGES.flatMap(linksOf).length > 100)
})

for (const page of PAGES) {
  t.test(`every link in ${page} leads somewhere`, async (t) => {
    t.same(linksOf(page).filter(leadsNowhere), [])
  })
}

/** The numbers of a page's sections, such as 0, 5.3, A, A12. */
function sectionsOf(page: string): Set<string> {
  const numbers = headingsOf(page).map((heading) => /^([A-F]?\d*(?:\.\d+)*)\.? /.exec(heading)?.[1] ?? '')
  return new Set(numbers.filter((number) => number !== ''))
}

const PAGE = String.raw`(?:docs/wechat/)?(?:mini-program|pay-more|pay)\.md`
const NUMBER = String.raw`(?:[A-F]\d{0,2}|\d+(?:\.\d+)?)\b`
const AFTER = new RegExp(`(${PAGE})(?: sections?)? (${NUMBER}(?:(?:, | and | to )(?:section )?${NUMBER})*)`, 'g')
const BEFORE = new RegExp(`(?:[Ss]ection|table) (${NUMBER}) (?:in|of) (${PAGE})`, 'g')

/** A comment as one line, so that a citation may be broken between two. */
const joined = (source: string) => source.replace(/\n\s*(?:\*|\/\/) ?/g, ' ')

function citationsOf(file: string): { page: string; section: string }[] {
  const text = joined(textOf(file))
  const after = [...text.matchAll(AFTER)].map(([, page = '', sections = '']) => ({ page, sections }))
  const before = [...text.matchAll(BEFORE)].map(([, sections = '', page = '']) => ({ page, sections }))
  return [...after, ...before].flatMap(({ page, sections }) =>
    [...sections.matchAll(new RegExp(NUMBER, 'g'))].map(([section]) => ({ page: page.replace(/^.*\//, ''), section }))
  )
}

const SOURCES = ['lib', 'plugins', 'routes', 'sandbox', 'test', 'tools', 'bench'].flatMap(filesIn)

t.test('every section of docs/wechat that the sources cite is there', async (t) => {
  const sections = new Map(
    globSync('docs/wechat/*.md', { cwd: ROOT }).map((page) => [page.replace(/^.*\//, ''), sectionsOf(page)])
  )
  t.ok(sections.get('pay.md')?.has('A12') && sections.get('mini-program.md')?.has('9.2'))
  const cited = SOURCES.flatMap((file) => citationsOf(file).map((citation) => ({ file, ...citation })))
  t.ok(cited.length > 40)
  t.same(
    cited.filter(({ page, section }) => !sections.get(page)?.has(section)),
    []
  )
})

t.test('every source that cites a protocol page names a section of it', async (t) => {
  const mentions = new RegExp(PAGE)
  const vague = SOURCES.filter((file) => mentions.test(joined(textOf(file))) && citationsOf(file).length === 0)
  t.same(
    vague.filter((file) => file !== 'test/links.test.ts'),
    []
  )
})
