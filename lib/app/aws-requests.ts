/**
 * The options of a client of AWS for small requests. The SDK repeats a request without a response, and its three tries end within
 * eleven seconds, which is less than the timeout of every function.
 */
export const SMALL_REQUESTS = {
  requestHandler: {
    connectionTimeout: 2_000,
    requestTimeout: 3_000,
    socketTimeout: 3_000,
    throwOnRequestTimeout: true,
  },
} as const;
