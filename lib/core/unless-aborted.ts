/** The result of work that cannot be stopped. @throws the signal's reason as soon as it is aborted */
export async function unlessAborted<T>(result: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => {
    reject(signal.reason as Error);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([result, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    // Without a waiting caller, the rejection of the work would be unhandled.
    result.catch(() => undefined);
  }
}
