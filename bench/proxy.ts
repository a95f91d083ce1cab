/** The server that the passthrough is compared with: Fastify that passes bytes to undici and back, and nothing else. */
import fastify from 'fastify'
import { Pool } from 'undici'

const app = fastify({ logger: false })
const upstream = new Pool(process.env.UPSTREAM ?? '', { connections: 64 })

app.removeAllContentTypeParsers()
app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))

app.get('/ready', async () => 'ready')

app.post('/*', async ({ url, headers, body }, reply) => {
  const answer = await upstream.request({
    method: 'POST',
    path: url,
    headers: { 'content-type': headers['content-type'] ?? '' },
    body: body as Buffer
  })
  reply.code(answer.statusCode).header('content-type', answer.headers['content-type'])
  return Buffer.from(await answer.body.arrayBuffer())
})

await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
