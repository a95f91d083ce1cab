/** APIv3 sends JSON; at a door of APIv2 it tells of a wrong address in somebody's settings (row 29 of table E in pay.md). */
import type { CallbackReason } from '../../metrics/meters.ts'

const JSON_START = /^\ufeff?\s*\{/

/** Why a message that nobody vouches for was refused: `reason`, unless it is JSON. */
export const reasonUnlessJson = (body: Buffer, reason: CallbackReason): CallbackReason =>
  JSON_START.test(body.toString('utf8', 0, 64)) ? 'wrong-door' : reason
