import { type ImageEvent, imageName, type ImageName, type MirrorEvent } from '../mirror/events.ts';
import type { Digest } from '../oci/digest.ts';

type FinalStatus = Exclude<ImageEvent['status'], 'pending'>;

/** What became of one image that was asked for. */
export interface Outcome {
  /** As it was asked for: `docker.io/library/alpine:3.20`; the repository where its tags could not be listed. */
  readonly reference: string;
  /** Repository in the archive. */
  readonly repository: string;
  readonly digest: Digest | null;
  readonly status: FinalStatus;
  readonly reason?: string;
  /** Bytes fetched from the registry for it. A blob that several images share counts for the one that fetched it. */
  readonly bytes: number;
}

interface Asked {
  readonly reference: string;
  readonly repository: string;
  digest: Digest | undefined;
  final: { readonly status: FinalStatus; readonly reason?: string } | undefined;
  bytes: number;
}

/** Keeps the book of a run: every image that was asked for ends in it exactly once (invariant 7). */
export class Outcomes {
  readonly #images = new Map<string, Asked>();
  /** By what was found, which is all that a blob knows of its image: the first that was asked for pays for all. */
  readonly #found = new Map<string, Asked>();

  /** An image that the run owes an answer for. */
  expect(name: ImageName): void {
    this.#asked(name);
  }

  observe(event: MirrorEvent): void {
    switch (event.type) {
      case 'listed':
        for (const tag of event.tags) this.expect(imageName(event, { tag }));
        return;
      case 'resolved': {
        const image = this.#asked(event);
        image.bytes += event.fetchedBytes;
        if (!this.#found.has(foundAs(event))) this.#found.set(foundAs(event), image);
        return;
      }
      case 'blob': {
        const image = this.#found.get(foundAs(event));
        if (event.phase === 'stored' && image !== undefined) image.bytes += event.fetched;
        return;
      }
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
    for (const { reference, repository, digest, final, bytes } of this.#images.values()) {
      const { status, reason } = final ?? { status: 'failed' as const, reason: unfinished };
      yield {
        reference,
        repository,
        digest: digest ?? null,
        status,
        ...(reason === undefined ? {} : { reason }),
        bytes,
      };
    }
  }

  #asked({ reference, repository, digest }: ImageName): Asked {
    const key = `${repository} ${reference}`;
    let image = this.#images.get(key);
    if (image === undefined) {
      image = { reference, repository, digest, final: undefined, bytes: 0 };
      this.#images.set(key, image);
    }
    image.digest ??= digest;
    return image;
  }
}

function foundAs({ source, tag, digest }: Pick<ImageName, 'source' | 'tag' | 'digest'>): string {
  return JSON.stringify([source, tag, digest]);
}

/** For a person: with its place in the archive, where that has another name. */
export function shownName({ reference, repository }: Pick<ImageName, 'reference' | 'repository'>): string {
  const rest = reference.startsWith(repository) ? reference.slice(repository.length) : reference;
  return rest === '' || rest.startsWith(':') || rest.startsWith('@') ? reference : `${reference} (as ${repository})`;
}
