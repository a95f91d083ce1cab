/** What does not keep the laws of test/architecture.test.ts yet. Each list only gets shorter. */
export const STILL = {
  /** Imports upwards, or from one protocol to another. */
  imports: [],
  /** Circles of files, types included. */
  circles: [
    'lib/sessions/listing.ts lib/sessions/refresh.ts lib/sessions/store.ts',
    'lib/settings.ts lib/settings/keys.ts lib/settings/wechat.ts',
    'lib/settings/environment.ts lib/settings/misspelt.ts lib/settings/proxy.ts'
  ],
  roomCircles: [],
  /** Files with a line of more than 120 columns. */
  longLines: [
    'lib/events/listing.ts',
    'lib/redis/connect.ts',
    'lib/sessions/listing.ts',
    'lib/sessions/refresh.ts',
    'lib/settings/pages.ts',
    'lib/settings/pem.ts',
    'lib/settings/redis-url.ts',
    'lib/settings/schema.ts',
    'lib/settings/unserved.ts',
    'lib/settings/wechat-schema.ts',
    'plugins/metrics/labels.ts',
    'plugins/metrics/process-metrics.ts',
    'plugins/metrics/request-meters.ts'
  ],
  /** Names that are exported twice. */
  names: ['Fault', 'SettingsError'],
  /** Files that keep something at module level. */
  state: ['lib/settings/environment.ts', 'plugins/metrics/process-metrics.ts']
}
