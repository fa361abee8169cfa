import { invalid } from '../core/failure.ts';
import { instantFault } from '../core/instant.ts';
import type { ReferrerCheck, TagChange } from './tag-index/tag-index.ts';

/** @throws Failure for a time in the future, which would make each later one count as older */
export function checkInstants(
  repository: string,
  changes: readonly TagChange[],
  checks: readonly ReferrerCheck[] = [],
): void {
  const now = Date.now();
  const observations = changes.map(({ tag, descriptor: { digest }, observed }) => ({ tag, digest, at: observed }));
  const checked = changes.flatMap(({ tag, descriptor: { digest }, checked: at }) =>
    at === undefined ? [] : [{ tag, digest, at }],
  );
  for (const { tag, digest, at } of [...observations, ...checked, ...checks]) {
    const fault = instantFault(at, now);
    if (fault === undefined) continue;
    const reference = tag === undefined ? `${repository}@${digest}` : `${repository}:${tag}`;
    throw invalid(`write tag index ${reference}`, `the time of the observation ${fault}`);
  }
}
