/**
 * A complete mirror in this process: kit registry, any store and the in-process queue, without the output of a sync.
 */
import { Archive } from '../../lib/archive/archive.ts';
import { ociLayout } from '../../lib/archive/oci-layout.ts';
import type { ObjectStore } from '../../lib/store/store.ts';
import { type LocalRun, runLocal } from '../../lib/app/local-run.ts';
import { type Outcome, Outcomes } from '../../lib/app/outcomes.ts';
import { imageName, type MirrorEvent } from '../../lib/sync/events.ts';
import { formatRepository, parseReference } from '../../lib/oci/reference.ts';
import type { Policy } from '../../lib/policy/policy.ts';
import type { PlatformPolicy } from '../../lib/queue/messages.ts';
import { resolveMessage } from '../../lib/queue/outgoing.ts';
import type { Queues } from '../../lib/queue/queue.ts';
import type { Sources } from '../../lib/registry/source.ts';
import { createSources, type SourcesOptions } from '../../lib/registry/sources.ts';

export interface MirrorOptions {
  readonly store: ObjectStore;
  /** References; a name alone means all of its tags. */
  readonly references: readonly string[];
  readonly platforms?: PlatformPolicy;
  readonly strictMediaTypes?: true;
  readonly registry?: SourcesOptions;
  readonly sources?: Sources;
  readonly signal?: AbortSignal;
  readonly run?: string;
  readonly wrapQueues?: (queues: Queues) => Queues;
  readonly now?: () => number;
  /** Sigstore's trusted root, and the signer of attestations. */
  readonly trustedRoot?: Uint8Array;
  readonly attestor?: LocalRun['attestor'];
  readonly onNotAttested?: LocalRun['onNotAttested'];
  /** The policy of a configuration; without one, the recorded policy applies. */
  readonly policy?: Policy;
}

export interface Mirrored {
  readonly archive: Archive;
  readonly outcomes: readonly Outcome[];
  readonly events: readonly MirrorEvent[];
}

export async function mirror(options: MirrorOptions): Promise<Mirrored> {
  const { store, references, platforms = 'all', run = `run-${String(Math.random()).slice(2)}` } = options;
  // Waits are decided as usual, and skipped.
  const sources = options.sources ?? createSources({ sleep: () => Promise.resolve(), ...options.registry });
  const archive = new Archive(store, ociLayout);
  const outcomes = new Outcomes();
  const events: MirrorEvent[] = [];
  const messages = references.map((text) => {
    const reference = parseReference(text);
    const source = formatRepository(reference);
    const { tag, digest } = reference;
    const order = {
      run,
      source,
      repository: source,
      platforms,
      ...(options.strictMediaTypes === undefined ? {} : { strictMediaTypes: options.strictMediaTypes }),
    };
    if (tag === undefined && digest === undefined) return resolveMessage(order, { kind: 'list' });
    const wanted = { ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) };
    outcomes.expect(imageName(order, wanted));
    return resolveMessage(order, { kind: 'images', images: [wanted] });
  });
  try {
    await runLocal({
      archive,
      sources,
      observe(event) {
        outcomes.observe(event);
        events.push(event);
      },
      signal: options.signal ?? new AbortController().signal,
      concurrency: 4,
      retryMs: 1,
      ...(options.wrapQueues === undefined ? {} : { wrapQueues: options.wrapQueues }),
      ...(options.now === undefined ? {} : { now: options.now }),
      trustedRoot: options.trustedRoot,
      attestor: options.attestor,
      onNotAttested: options.onNotAttested,
      ...(options.policy === undefined ? {} : { policyOf: () => options.policy }),
      messages,
    });
  } finally {
    if (options.sources === undefined) await sources.close();
  }
  return { archive, outcomes: [...outcomes.all({ reason: 'no word' })], events };
}
