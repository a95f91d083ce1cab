/** The configured mini-programs, by appid. */
import { ServiceError } from '../errors.ts'
import type { App } from '../settings/model.ts'

export class Apps {
  /** The only app, where there is only one. */
  readonly only: App | undefined
  readonly #byAppid: ReadonlyMap<string, App>

  constructor(apps: readonly App[]) {
    this.#byAppid = new Map(apps.map((app) => [app.appid, app]))
    this.only = apps.length === 1 ? apps[0] : undefined
  }

  knows(appid: string): boolean {
    return this.#byAppid.has(appid)
  }

  /** Throws APP_UNKNOWN. Without an appid: the only app, where there is only one. */
  pick(appid: string | undefined): App {
    const app = appid === undefined ? this.only : this.#byAppid.get(appid)
    if (app !== undefined) return app
    const message = appid === undefined ? 'Several apps are configured here; say which by appid' : undefined
    throw new ServiceError('APP_UNKNOWN', { message })
  }
}
