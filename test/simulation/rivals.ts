/**
 * A situation: an upload with wrong parts is continued, while another process stores the same blob from another registry.
 */
import type { Action } from './actions.ts';
import { NO_FAULTS } from './process.ts';
import type { Conditions } from './system.ts';

const MINUTE = 60_000;
/** Images whose largest layer has several parts. */
const LARGE = [1, 1, 3] as const;
/** Images that keep the layer functions of the second registry busy, and share no large layer with the images above. */
const OTHER = [5, 7, 7] as const;

export function rivals(
  from: number,
  conditions: Conditions,
  { below, pick }: { readonly below: (limit: number) => number; readonly pick: <T>(values: readonly T[]) => T },
): { readonly actions: readonly Action[]; readonly conditions: Conditions } {
  const [one, two] = ['r1.example/app', 'r2.example/app'] as const;
  const image = pick(LARGE);
  const mood = (after: number, host: string, mood: 'slow-bodies' | 'wrong-bytes', forMs: number): Action => ({
    at: from + after,
    do: 'mood',
    host,
    mood,
    forMs,
  });
  return {
    actions: [
      mood(0, 'r1.example', 'slow-bodies', MINUTE),
      // The layers of the other image take this long. The shared ones are then stored within the time of the continuation.
      mood(0, 'r2.example', 'slow-bodies', 8_000 + below(14_000)),
      mood(1_000 + below(3_000), 'r1.example', 'wrong-bytes', 1_000 + below(8_000)),
      { at: from, do: 'push', repository: one, tag: '1', image },
      { at: from, do: 'push', repository: two, tag: '1', image },
      { at: from, do: 'push', repository: two, tag: '2', image: pick(OTHER) },
      { at: from + 200, do: 'request', reference: `${two}:2` },
      // Both processes look up the blobs before an upload begins.
      { at: from + 500, do: 'request', reference: `${one}:1` },
      { at: from + 501, do: 'request', reference: `${two}:1` },
    ],
    conditions: {
      ...conditions,
      rates: NO_FAULTS,
      lanes: 1,
      uploadsListedAfterMs: 0,
      timeouts: { ...conditions.timeouts, layer: pick([10_000, 14_000]) },
    },
  };
}
