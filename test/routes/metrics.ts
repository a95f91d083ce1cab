/** What the tests of /metrics share: a scrape, and a reader of Prometheus' text format that takes nothing else. */
import type { FastifyInstance } from 'fastify'
import { API_KEY } from '../helper.ts'

const SAMPLE = /^([a-z_]\w*)(?:\{([^}]*)\})? (-?\d[\d.e+-]*|[+-]Inf|Nan)$/
const LABEL = /([a-z]+)="((?:[^"\\]|\\.)*)"/g

export interface Sample {
  name: string
  labels: Record<string, string>
  value: number
}

/** Throws at a line that is none of the format, and at a series that comes twice. */
export function readSamples(text: string): Sample[] {
  const seen = new Set<string>()
  const lines = text.split('\n').filter((line) => line !== '' && !/^# (HELP|TYPE) /.test(line))
  return lines.map((line) => {
    const [, name, labels = '', value = ''] = SAMPLE.exec(line) ?? []
    const series = `${name}{${labels}}`
    if (name === undefined || seen.has(series)) throw new Error(`not a line of the format, or twice: ${line}`)
    seen.add(series)
    const pairs = [...labels.matchAll(LABEL)].map(([, label = '', text = '']) => [label, text])
    return { name, labels: Object.fromEntries(pairs), value: Number(value) }
  })
}

export const fetchMetrics = (
  app: FastifyInstance,
  headers: Record<string, string> = { authorization: `Bearer ${API_KEY}` }
) => app.inject({ url: '/metrics', headers })

export async function scrape(app: FastifyInstance): Promise<Sample[]> {
  const answer = await fetchMetrics(app)
  if (answer.statusCode !== 200) throw new Error(`/metrics answered ${answer.statusCode}`)
  return readSamples(answer.body)
}

/** The values of one meter by the values of its labels, joined with spaces. */
export async function valuesOf(app: FastifyInstance, meter: string): Promise<Record<string, number>> {
  const samples = (await scrape(app)).filter(({ name }) => name === `wxgate_${meter}`)
  return Object.fromEntries(samples.map(({ labels, value }) => [Object.values(labels).join(' '), value]))
}
