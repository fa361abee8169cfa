import type { ErrorResponse } from '../errors.ts';

/** One request in all its tries. */
export interface PacedRequest {
  readonly kind: string;
  readonly order: number;
  refusals: number;
  /** The refusals while other requests were accepted. */
  overtaken: number;
  passesSeen: number;
  epoch: number;
  /** Whether its last refusal was that of a probe; the next probe is then another request. */
  probed: boolean;
}

/** The request is not sent: its kind was refused too often, or the pause of the endpoint is too long. */
export class Refused extends Error {
  override readonly name = 'Refused';
  /** The refusal of an earlier request, with the remaining wait as its Retry-After. */
  readonly answer: ErrorResponse;

  constructor(answer: ErrorResponse, remainingMs: number) {
    super(`refused with ${answer.status}`);
    const asked = answer.headers['retry-after'] !== undefined;
    const left = { 'retry-after': String(Math.ceil(remainingMs / 1000)) };
    this.answer = asked ? { ...answer, headers: { ...answer.headers, ...left } } : answer;
  }
}
