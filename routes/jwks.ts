/** The public keys of our tokens, for whoever verifies them alone. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { problems } from './_shared/schemas.ts'

/** How long a verifier may work with what it fetched: a new key has to be listed for that long before it signs. */
const CACHE_SECONDS = 600

const PublicKey = Type.Object({
  kty: Type.String(),
  crv: Type.String(),
  x: Type.String(),
  y: Type.Optional(Type.String({ description: 'of P-256' })),
  kid: Type.String({ description: 'RFC 7638 thumbprint' }),
  alg: Type.String(),
  use: Type.String()
})

const EXAMPLE = {
  kty: 'OKP',
  crv: 'Ed25519',
  x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
  kid: 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k',
  alg: 'EdDSA',
  use: 'sig'
}

const schema = {
  operationId: 'getPublicKeys',
  tags: ['tokens'],
  summary: 'The public keys that verify tokens; none where JWT_SECRET signs',
  response: { 200: Type.Object({ keys: Type.Array(PublicKey) }, { examples: [{ keys: [EXAMPLE] }] }), ...problems() }
}

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const keys = app.tokens.publicKeys as (typeof PublicKey.static)[]

  app.get(
    '/.well-known/jwks.json',
    { config: { auth: 'none', scope: 'public', evenOverloaded: true }, schema },
    async function jwks(_request, reply) {
      reply.header('cache-control', `public, max-age=${CACHE_SECONDS}`)
      return { keys }
    }
  )
}

export default routes
