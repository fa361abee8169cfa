import type { Answer } from '../errors.ts';

/** How a request takes its turn: it waits for it, or it goes at once although the endpoint rests. */
export type Turn = 'wait' | 'at-once';

/** One request, from its first try to its last. */
export interface Ticket {
  readonly kind: string;
  readonly order: number;
  /** How often it was refused. */
  refusals: number;
  /** How often it was refused although others were let through meanwhile. */
  overtaken: number;
  passesSeen: number;
  epoch: number;
  /** Its last refusal was of the only request that was sent: another one is sent first next time. */
  probed: boolean;
}

/** Why a request is not sent: its kind was refused too often, or the endpoint rests for longer than is waited here. */
export class Refused extends Error {
  override readonly name = 'Refused';
  /** The refusal of an earlier request; its Retry-After is what is left of the wait. */
  readonly answer: Answer;

  constructor(answer: Answer, restMs: number) {
    super(`refused with ${answer.status}`);
    const asked = answer.headers['retry-after'] !== undefined;
    const left = { 'retry-after': String(Math.ceil(restMs / 1000)) };
    this.answer = asked ? { ...answer, headers: { ...answer.headers, ...left } } : answer;
  }
}
