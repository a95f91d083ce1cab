/** What is asked of WeChat Pay may not be there: no failure, where that is what one wants to know. */
import { ServiceError } from '../errors.ts'

/** What our caller is told then, by either API. */
export const NO_ORDER = { message: 'WeChat Pay knows no such order' }
export const NO_REFUND = { message: 'WeChat Pay knows no such refund' }

/** undefined in place of NOT_FOUND; every other failure is thrown on. */
export async function ifFound<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked
  } catch (error) {
    if (error instanceof ServiceError && error.code === 'NOT_FOUND') return undefined
    throw error
  }
}
