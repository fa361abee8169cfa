import type { Digest } from '../oci/digest.ts';
import type { ImageEvent, ImageName, MirrorEvent } from '../mirror/events.ts';

type FinalStatus = Exclude<ImageEvent['status'], 'pending'>;

/** What became of one image that was asked for. */
export interface Outcome {
  /** `docker.io/library/alpine:3.20`; a digest where there is no tag; the repository where its tags could not be listed. */
  readonly reference: string;
  readonly digest: Digest | null;
  readonly status: FinalStatus;
  readonly reason?: string;
  /** Bytes fetched from the registry for it. A blob that several images share counts for the one that fetched it. */
  readonly bytes: number;
}

interface Asked {
  readonly reference: string;
  digest: Digest | undefined;
  final: { readonly status: FinalStatus; readonly reason?: string } | undefined;
  bytes: number;
}

/** Keeps the book of a run: every image that was asked for ends in it exactly once (invariant 7). */
export class Outcomes {
  readonly #images = new Map<string, Asked>();

  /** An image that the run owes an answer for. */
  expect(name: Omit<ImageName, 'run'>): void {
    this.#asked(name);
  }

  observe(event: MirrorEvent): void {
    switch (event.type) {
      case 'listed':
        for (const tag of event.tags) this.expect({ source: event.source, tag });
        return;
      case 'resolved':
        this.#asked(event).bytes += event.fetchedBytes;
        return;
      case 'blob':
        if (event.phase === 'stored') this.#asked(event).bytes += event.fetched;
        return;
      case 'image': {
        const image = this.#asked(event);
        const { status } = event;
        if (status === 'pending') return;
        image.final ??= { status, ...(event.reason === undefined ? {} : { reason: event.reason }) };
        return;
      }
    }
  }

  /** All of them; one without a final word has failed with `unfinished` as its reason. */
  *all(unfinished: string): Generator<Outcome, void, void> {
    for (const { reference, digest, final, bytes } of this.#images.values()) {
      const { status, reason } = final ?? { status: 'failed' as const, reason: unfinished };
      yield { reference, digest: digest ?? null, status, ...(reason === undefined ? {} : { reason }), bytes };
    }
  }

  #asked({ source, tag, digest }: Omit<ImageName, 'run'>): Asked {
    const reference = referenceOf({ source, tag, digest });
    let image = this.#images.get(reference);
    if (image === undefined) {
      image = { reference, digest, final: undefined, bytes: 0 };
      this.#images.set(reference, image);
    }
    image.digest ??= digest;
    return image;
  }
}

export function referenceOf({ source, tag, digest }: Omit<ImageName, 'run'>): string {
  if (tag !== undefined) return `${source}:${tag}`;
  return digest === undefined ? source : `${source}@${digest}`;
}
