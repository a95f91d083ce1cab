/** The operator's proxy, by the variables that every tool reads. */
import type { ProxySettings } from '../http/proxy.ts'
import type { Issues } from './issues.ts'
import type { Variables } from './model.ts'
import { readEach, readOne } from './reader.ts'
import type { Environment } from './schema.ts'
import { readProxyUrl } from './text.ts'

const NAMES = ['HTTPS_PROXY', 'HTTP_PROXY', 'NO_PROXY'] as const

/** Those settings in lower case. */
export const LOWER_CASE_NAMES: readonly string[] = NAMES.map((name) => name.toLowerCase())

/** They are usual in lower case too, which wins, as curl has it. */
export function preferLowerCase(env: Variables): Variables {
  const given = NAMES.flatMap((name) => {
    const value = env[name.toLowerCase()]
    return value === undefined || value === '' ? [] : [[name, value] as const]
  })
  return given.length === 0 ? env : { ...env, ...Object.fromEntries(given) }
}

export function readProxySettings(env: Environment, issues: Issues): ProxySettings {
  const { HTTPS_PROXY, HTTP_PROXY, NO_PROXY } = env
  return {
    ...(HTTPS_PROXY !== undefined && { https: readOne(issues, 'HTTPS_PROXY', HTTPS_PROXY, readProxyUrl) }),
    ...(HTTP_PROXY !== undefined && { http: readOne(issues, 'HTTP_PROXY', HTTP_PROXY, readProxyUrl) }),
    noProxy: readEach(issues, 'NO_PROXY', NO_PROXY, readUnproxied).filter((entry) => entry !== '')
  }
}

/** Such lists come from many tools: what names nothing, and what is empty, does no harm. */
const readUnproxied = (entry: string): string | undefined => (/\s|:\/\//.test(entry) ? undefined : entry)
