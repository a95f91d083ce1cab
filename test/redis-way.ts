/**
 * A proxy in front of Redis. New connections can lead to another Redis while open ones stay, open ones can become
 * silent, and commands can be refused.
 */
import { connect, type Socket } from 'node:net'
import type { Test } from 'tap'
import type { PrivateRedis } from '../tools/redis.ts'
import { closeTogether, listenRaw } from './listen.ts'

export interface RedisWay {
  /** For REDIS_URL. */
  url: string
  port: number
  /** New connections go there; those that are open stay, as after a failover by DNS or by a virtual address. */
  leadTo(redis: Pick<PrivateRedis, 'socket'>): void
  /** Nothing passes through the open connections any more, and nothing closes them, as when a host disappears. */
  silence(): void
  /** Each command on each connection is answered so, such as `LOADING …`; undefined: they reach Redis again. */
  refuse(error: string | undefined): void
  /** How many connections were made so far. */
  made(): number
}

const COMMAND = /\*\d+\r\n\$\d+\r\n(?=[A-Za-z])/g

export async function startRedisWay(t: Test, first: Pick<PrivateRedis, 'socket'>): Promise<RedisWay> {
  let [target, refusal, made] = [first, undefined as string | undefined, 0]
  const onwards = new Set<Socket>()
  const { port, sockets } = await listenRaw(t, (socket) => {
    made += 1
    const onward = connect({ path: target.socket })
    onwards.add(onward)
    closeTogether(socket, onward)
    socket.on('data', (chunk) => {
      if (refusal === undefined) onward.write(chunk)
      else socket.write(`-${refusal}\r\n`.repeat(chunk.toString('latin1').match(COMMAND)?.length ?? 0))
    })
    socket.on('end', () => onward.end())
    onward.on('data', (chunk) => socket.write(chunk))
  })
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    leadTo(redis) {
      target = redis
    },
    silence() {
      for (const socket of [...sockets, ...onwards]) socket.pause()
    },
    refuse(error) {
      refusal = error
    },
    made: () => made
  }
}
