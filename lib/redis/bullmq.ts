/** BullMQ, which has many modules: it is loaded when all else of a start is done. */
import type * as BullMQ from 'bullmq'

/** The first call loads it, which takes the process a tenth of a second; the others get what is loaded. */
export const loadBullMQ = (): Promise<typeof BullMQ> => import('bullmq')
