/**
 * Answers `instead` where the key holds something of another type than the command is for. Other errors stay errors.
 */
export async function unlessWrongType<T>(answer: Promise<T>, instead: () => T): Promise<T> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('WRONGTYPE')) return instead()
    throw error
  }
}
