/** GET /cgi-bin/getcallbackip: where pushes come from. Here: addresses that are reserved for documentation. */
import { managed } from './managed.ts'

export const callbackIp = managed({
  api: 'getcallbackip',
  url: '/cgi-bin/getcallbackip',
  method: 'GET',
  work: () => ({ ip_list: ['192.0.2.10', '198.51.100.0/24'] })
})
