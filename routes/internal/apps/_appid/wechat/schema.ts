import { Type } from '@sinclair/typebox'
import { INTERNAL_PROBLEMS, problems, WECHAT_PROBLEMS } from '../../../../_shared/schemas.ts'

/**
 * No segment that a server on the way could resolve, no second address, no character that ends a line; not the decoded
 * form either.
 */
const PATH = '^(?!/)(?!.*(?:^|/)\\.{1,2}(?:/|$))[^\\\\\\u0000-\\u001f\\u007f]+$'

export const ALLOWED_PATH = new RegExp(PATH)

const bytes = (description: string) => ({
  description,
  content: { '*/*': { schema: Type.Unsafe<Buffer>({ type: 'string', format: 'binary' }) } }
})

const appid = Type.String({ description: 'of the mini-program', examples: ['wx0123456789abcdef'] })

const byPath = {
  tags: ['apps'],
  summary: 'Any call of WeChat, with a managed access_token',
  description:
    'Path, query and body go to WeChat as they are, and its answer comes back with its own status, ' +
    'whatever errcode it holds. The access_token is added; one in the query is replaced. ' +
    '40001, 40014 and 42001 renew the token and repeat the call once. ' +
    'Where the app has keys of the API security mode and the API supports it, query and body go as one sealed and ' +
    'signed object, and the answer is verified and opened; then the body has to be a JSON object, or absent. ' +
    'An answer with `code` and `requestId` is our own: WeChat gave none that could be passed on.',
  params: Type.Object({
    appid,
    '*': Type.String({ pattern: PATH, description: "WeChat's path", examples: ['cgi-bin/message/subscribe/send'] })
  }),
  response: {
    '2xx': bytes("WeChat's answer, byte for byte"),
    ...problems(...INTERNAL_PROBLEMS, 'APP_UNKNOWN', 'NOT_FOUND', ...WECHAT_PROBLEMS)
  }
}

/** For clients made from a description, which encode the slashes of a path. */
const byQuery = {
  ...byPath,
  summary: "The same, with WeChat's path in the query",
  params: Type.Object({ appid }),
  querystring: Type.Object(
    {
      path: Type.String({
        pattern: PATH,
        description: "WeChat's path; everything else of the query goes to WeChat as it is",
        examples: ['cgi-bin/message/subscribe/send']
      })
    },
    { additionalProperties: true }
  )
}

const body = bytes('goes to WeChat byte for byte, at most 10 MiB, whatever its Content-Type')

const ofMethod = <Schema extends object>(schema: Schema, method: string) =>
  method === 'POST' ? { ...schema, body } : schema

/** `passGetToWechat`, and so on. */
const nameOf = (method: string): string => `pass${method.slice(0, 1)}${method.slice(1).toLowerCase()}ToWechat`

export const passByPath = (method: string) => ({ operationId: nameOf(method), ...ofMethod(byPath, method) })
export const passByQuery = (method: string) => ({
  operationId: `${nameOf(method)}ByQuery`,
  ...ofMethod(byQuery, method)
})
