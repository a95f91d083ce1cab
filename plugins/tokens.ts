/** `app.tokens`: what a client gets for its session, and who a token of ours names. */
import { createPublicKey, type JsonWebKey } from 'node:crypto'
import jwt, { type JWT } from '@fastify/jwt'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { JwtKey, Settings } from '../lib/settings/model.ts'
import { type Claims, type JwtSigner, Tokens } from '../lib/tokens/tokens.ts'

export type TokenOptions = Settings['tokens'] & { now: () => number }

declare module 'fastify' {
  interface FastifyInstance {
    tokens: Tokens
  }
}

export default fp<TokenOptions>(
  async (app: FastifyInstance, { jwtKeys, issuer, ...times }) => {
    const { sealer } = app
    const { store: sessions } = app.sessions
    const signers: JwtSigner[] = []
    for (const key of jwtKeys) signers.push(await registerKey(app, key, issuer))
    // The wechat plugin is registered later.
    const knowsApp = (appid: string) => app.wechat.apps.knows(appid)
    const publicKeys = jwtKeys.flatMap(publicKeyOf)
    app.decorate('tokens', new Tokens({ signers, publicKeys, issuer, sealer, sessions, knowsApp, ...times }))
  },
  { name: 'tokens', dependencies: ['sessions'], fastify: '5.x' }
)

async function registerKey(app: FastifyInstance, jwtKey: JwtKey, issuer: string): Promise<JwtSigner> {
  const { kid, alg, signingKey, verifyingKey } = jwtKey
  await app.register(jwt, {
    namespace: kid,
    secret: alg === 'HS256' ? signingKey : { private: signingKey, public: verifyingKey },
    sign: { algorithm: alg, kid },
    verify: {
      algorithms: [alg],
      allowedIss: issuer,
      requiredClaims: ['iss', 'aud', 'sub', 'sid', 'jti', 'iat', 'exp'],
      // By our own clock instead, also for tokens that were verified before.
      ignoreExpiration: true
    }
  })
  const key = (app.jwt as unknown as Record<string, JWT>)[kid] as JWT
  return { sign: (claims) => key.sign(claims), verify: (token) => key.verify<Claims>(token) }
}

const publicKeyOf = ({ kid, alg, verifyingKey }: JwtKey): JsonWebKey[] =>
  alg === 'HS256' ? [] : [{ ...createPublicKey(verifyingKey).export({ format: 'jwk' }), kid, alg, use: 'sig' }]
