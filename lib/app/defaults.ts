/** Defaults and limits of a sync, for the command line and the library. */

/** As many as browsers open to a few hosts; with 20 ms of round trip, a thousand unchanged tags take two seconds. */
export const DEFAULT_CONCURRENCY = 12;

export const MAX_CONCURRENCY = 64;

/** The longest wait for a registry that limits its requests. */
export const DEFAULT_MAX_WAIT_MS = 15 * 60_000;
