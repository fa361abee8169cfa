/** Decisions of people about digests: releases of held digests, and rejections. Pure. */
import type { Digest } from '../oci/digest.ts';

export interface Decision {
  readonly action: 'release' | 'reject';
  /** The tag of a release; without it, the release applies to every tag. A rejection always applies to every tag. */
  readonly tag?: string;
  readonly digest: Digest;
  /** The AWS principal, or the name of the user. */
  readonly by: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly reason: string;
}

/** Only the last decision for a digest and a tag is kept. The maximum number of decisions of a repository. */
export const MAX_DECISIONS = 10_000;

/** Characters of a reason, and of the name of a person. */
export const MAX_DECISION_TEXT = 1_000;

/** The last decision about a digest under a tag (`''`: without a tag). */
export function decisionOn(decisions: readonly Decision[], tag: string, digest: Digest): Decision | undefined {
  let last: Decision | undefined;
  for (const decision of decisions) {
    const isMeant = decision.action === 'reject' || decision.tag === undefined || decision.tag === tag;
    if (decision.digest === digest && isMeant && decision.at >= (last?.at ?? 0)) last = decision;
  }
  return last;
}

/** Adds a decision, which replaces an earlier one about the same digest and tag. */
export function withDecision(decisions: readonly Decision[], decision: Decision): readonly Decision[] {
  const others = decisions.filter(({ tag, digest }) => digest !== decision.digest || tag !== decision.tag);
  return [...others, decision];
}

/** `rejected by lena: it has a backdoor` */
export function wordsOf({ action, by, reason }: Decision): string {
  return `${action === 'reject' ? 'rejected' : 'released'} by ${by}: ${reason}`;
}
