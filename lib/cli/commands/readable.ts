import { Failure } from '../../core/failure.ts';

/** The result of a read. Reports a corrupt index or one of a newer release, and returns undefined. */
export async function readable<T>(reading: Promise<T>, report: (failure: Failure) => void): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (!(error instanceof Failure) || !(error.code === 'corrupt' || error.code === 'unsupported')) throw error;
    report(error);
    return undefined;
  }
}
