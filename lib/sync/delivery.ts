import type { Failure } from '../core/failure.ts';

/** How a message is delivered to the resolver or to the layer role. */
export interface DeliveryOptions {
  /** Deliveries of this message so far, this one included. */
  readonly receiveCount: number;
  /**
   * A temporary failure is thrown, so that the queue delivers the message again; on the last delivery it is recorded.
   */
  readonly last: boolean;
  /** A rate limit is thrown on the last delivery too: the caller queues the message again. */
  readonly requeues?: boolean;
  readonly signal: AbortSignal;
}

/** Whether a failure is recorded. Any other failure is thrown, so that the queue delivers the message again. */
export function isRecorded(failure: Failure, { last, requeues = false }: DeliveryOptions): boolean {
  if (failure.code === 'aborted') return false;
  const isQueuedAgain = requeues && failure.side === 'source' && failure.code === 'rate-limited';
  return !isTemporary(failure) || (last && !isQueuedAgain);
}

export function isTemporary(failure: Failure): boolean {
  return failure.remedy !== 'never';
}
