/** What the OpenAPI document says beside the routes: what wxgate is, where it is, and how callers prove themselves. */
import { EXAMPLES } from './refusals.ts'
import { describeWebhooks, type EventSchema } from './webhooks.ts'

export interface About {
  version: string
  /** Without a trailing slash. */
  publicUrl: string
  events: readonly EventSchema[]
}

const DESCRIPTION = `The self-hosted backend of WeChat mini-programs. The mini-program calls \`/api\`, WeChat's servers
call \`/wechat\`, the merchant's own backend calls \`/internal\`. The webhooks are what is posted to that backend.

Every answer carries \`x-request-id\`. Every refusal of \`/api\` and \`/internal\` has the shape \`Problem\`: decide
by its \`code\`, which is stable. Times are ISO 8601 in UTC, money is in integer fen.`

const TAGS = [
  { name: 'mini-program', description: 'What a mini-program calls with wx.request.' },
  { name: 'apps', description: "An app's own credentials, for the merchant's backend." },
  { name: 'users', description: "The sessions and session_keys of one user, for the merchant's backend." },
  { name: 'tokens', description: 'To check the tokens that users were given.' },
  { name: 'payments', description: "Orders of WeChat Pay, for the merchant's backend." },
  { name: 'events', description: "What happened, and how it was delivered to the merchant's backend." },
  { name: 'callbacks', description: 'Callbacks of WeChat that were refused, or put aside for a person.' },
  {
    name: 'wechat',
    description:
      "What WeChat's servers call. They prove themselves by WeChat's signature over the body, made with a key that " +
      'only WeChat and the merchant hold: it is no header that OpenAPI could name as a security scheme, and it is ' +
      'always verified.'
  },
  { name: 'operation', description: 'For whoever runs wxgate.' }
]

const SECURITY_SCHEMES = {
  apiKey: {
    type: 'http' as const,
    scheme: 'bearer',
    description:
      "One of INTERNAL_API_KEYS, for the merchant's backend. Keep it out of mini-programs. " +
      'A key may be limited to scopes; each operation names those that open it.'
  },
  sessionToken: {
    type: 'http' as const,
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description: 'The `token` of POST /api/login or POST /api/token/refresh. It holds as long as its session does.'
  }
}

/** This instance, as a place beside the document itself. */
export const INSIDE = { url: '/', description: 'this instance, from the inside' }

export function aboutDocument({ version, publicUrl, events }: About) {
  const license = { name: 'Apache-2.0', identifier: 'Apache-2.0' }
  const schemas = {}
  return {
    openapi: '3.1.0',
    info: { title: 'wxgate', version, description: DESCRIPTION, license },
    servers: [{ url: publicUrl, description: 'as mini-programs and WeChat reach it' }, INSIDE],
    tags: TAGS,
    components: { securitySchemes: SECURITY_SCHEMES, examples: EXAMPLES, schemas },
    webhooks: describeWebhooks(events, schemas)
  }
}
