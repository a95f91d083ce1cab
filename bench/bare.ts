/** The server that all others are compared with: Fastify, one route, a response schema, nothing else. */
import fastify from 'fastify'

const app = fastify({ logger: false })

app.get(
  '/api/test',
  { schema: { response: { 200: { type: 'object', properties: { ok: { type: 'integer' } }, required: ['ok'] } } } },
  async () => ({ ok: 1 })
)

await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
