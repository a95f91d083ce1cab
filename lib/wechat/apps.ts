/** The configured mini-programs, by appid. */
import { ServiceError } from '../errors.ts'
import type { App } from '../settings.ts'

export interface Apps {
  /** Where there is only one. */
  only: App | undefined
  /** Throws APP_UNKNOWN. Without an appid: the only app, where there is only one. */
  pick(appid: string | undefined): App
  knows(appid: string): boolean
}

export function createApps(apps: readonly App[]): Apps {
  const byAppid = new Map(apps.map((app) => [app.appid, app]))
  const [first, second] = apps
  const only = second === undefined ? first : undefined

  return {
    only,
    knows: (appid) => byAppid.has(appid),

    pick(appid) {
      const app = appid === undefined ? only : byAppid.get(appid)
      if (app !== undefined) return app
      throw new ServiceError('APP_UNKNOWN', {
        ...(appid === undefined && { message: 'Several apps are configured here; say which by appid' })
      })
    }
  }
}
