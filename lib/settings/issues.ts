/** What is wrong with the settings, collected, so that one start names every fault instead of the first. */

export interface Issue {
  /** The setting, or for a field of the configuration file `WECHAT_CONFIG_FILE apps[1].secret`. */
  name: string
  /** What is wrong and what would be right; never a value, as this goes to logs. */
  problem: string
}

/** Carries no `cause`: the errors of JSON.parse, URL and the crypto module quote what they were given. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError'
  readonly issues: readonly Issue[]

  constructor(issues: readonly Issue[]) {
    super(issues.map(({ name, problem }) => `${name} ${problem}`).join('\n'))
    this.issues = issues
  }
}

export class Issues {
  readonly #found: Issue[] = []
  readonly #settled = new Set<string>()
  readonly #remarks = new Map<string, string>()

  add(name: string, problem: string): void {
    if (this.#settled.has(name)) return
    const remark = this.#remarks.get(name)
    this.#found.push({ name, problem: remark === undefined ? problem : `${problem}; ${remark}` })
  }

  /** What is said behind a fault of this setting, if one is found: what probably happened. The first remark stands. */
  remark(name: string, remark: string | undefined): void {
    if (remark !== undefined && !this.#remarks.has(name)) this.#remarks.set(name, remark)
  }

  /** Nothing more is said of this setting: its value is missing, so whatever else is found would only be an echo. */
  settle(name: string): void {
    this.#settled.add(name)
  }

  /** Throws one SettingsError with everything found, if anything was. */
  throwIfAny(): void {
    if (this.#found.length > 0) throw new SettingsError(this.#found)
  }
}
