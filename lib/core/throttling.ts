/** The names of AWS for too many requests. A service may use the name of another one behind it: `KMS.ThrottlingException`. */
const THROTTLING = /thrott|TooManyRequests|SlowDown|OverLimit|RequestLimitExceeded|BandwidthLimitExceeded/i;

/** Whether the error code of an AWS service means too many requests, whatever the status of the response is. */
export function isThrottling(code: string): boolean {
  return THROTTLING.test(code);
}
