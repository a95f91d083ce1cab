/** Gets ready what is compared: users, sessions and requests of the gateway and of the floor. */
import { type Case, type CaseName, createCases } from './cases.ts'
import type { Contest, Entry } from './measure.ts'
import { connectRecorded, type Recorded } from './recorded.ts'
import { connectSessions, type Sessions } from './sessions.ts'
import { logInUsers } from './users.ts'
import type { World } from './world.ts'

const USERS = 1000

export interface Prepared {
  /** The gateway's. */
  known: Record<CaseName, Case>
  /** One case of the gateway against the floor's. */
  contestOf(name: CaseName): Contest
  sessions: Sessions
  recorded: Recorded
}

export async function prepareContests(world: World): Promise<Prepared> {
  const { floor } = world
  const sessions = await connectSessions(world)
  const recorded = await connectRecorded(world)
  const known = createCases(world, {
    users: await logInUsers(world, world.gateway, USERS),
    es256Users: await logInUsers(world, world.es256, USERS),
    refreshTokens: async (count) => (await sessions.open(count)).map(sessions.refreshTokenOf),
    callbacks: recorded
  })
  const floorCases = createCases(world, {
    users: await logInUsers(world, floor.side, USERS),
    es256Users: await logInUsers(world, floor.es256, USERS),
    refreshTokens: (count) => floor.refreshTokens(count),
    callbacks: floor.callbacks()
  })
  const oursOf = (name: CaseName): Entry => ({ side: world[known[name].side ?? 'gateway'], subject: known[name] })
  const floorOf = (name: CaseName): Entry | undefined => {
    const { side } = known[name]
    if (side === 'proxy') return undefined
    return { side: side === undefined ? floor.side : floor[side], subject: floorCases[name] }
  }
  const contestOf = (name: CaseName): Contest => ({ name, ours: oursOf(name), floor: floorOf(name) })
  return { known, contestOf, sessions, recorded }
}
