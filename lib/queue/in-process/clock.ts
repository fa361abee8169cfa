/** Time in milliseconds, from any start. */
export interface Clock {
  now(): number;
  /** Calls back once, after this time; returns a function that cancels it. */
  after(ms: number, callback: () => void): () => void;
}

export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  after: (ms, callback) => {
    const timer = setTimeout(callback, ms);
    return () => {
      clearTimeout(timer);
    };
  },
};
