/** How long a start of the gateway takes. */
import type { World } from './world.ts'

/** From the start of the process until /readyz answers 200, in milliseconds; what can be kept of a start is kept. */
export async function measureStarts({ startGateway }: World, count: number): Promise<number[]> {
  const times: number[] = []
  while (times.length < count) {
    const { server, load } = await startGateway()
    times.push(server.readyMs)
    load.close()
    await server.stop()
  }
  return times
}
