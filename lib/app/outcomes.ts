import {
  type BlobEvent,
  type FinalStatus,
  IMAGE_STATUSES,
  type ImageEvent,
  imageName,
  type ImageName,
  type ListedEvent,
  type MirrorEvent,
} from '../sync/events.ts';
import type { Changes } from '../changes/changes.ts';
import type { Digest } from '../oci/digest.ts';
import { printable } from '../oci/show.ts';
import { defined } from '../core/defined.ts';
import { plural } from '../core/format.ts';

/** The result of one requested image. */
export interface Outcome {
  /** The requested reference (`docker.io/library/alpine:3.20`), or the repository if its tags could not be listed. */
  readonly reference: string;
  /** Repository in the archive. */
  readonly repository: string;
  readonly digest: Digest | null;
  readonly status: FinalStatus;
  /** The previous digest in the archive, if the tag has moved. */
  readonly previous?: Digest;
  /** The difference between the previous image and this one. */
  readonly changes?: Changes;
  /** The digest that the tag keeps in the archive, if it has drifted. */
  readonly current?: Digest;
  /** The time before which a held image is not visible: ISO 8601, UTC. */
  readonly until?: string;
  /** The code of the failure. */
  readonly code?: string;
  readonly reason?: string;
  /** Warnings about the image, each a sentence. */
  readonly notes?: readonly string[];
  /** Bytes fetched for this image. A shared blob counts for the image that fetched it. */
  readonly bytes: number;
}

/** A repository of which no tag is mirrored, or a referrer that cannot be mirrored. */
export interface Warning {
  readonly source: string;
  /** Repository in the archive. */
  readonly repository: string;
  readonly reason: string;
}

/** The result of a sync. */
export interface Summary extends Readonly<Record<FinalStatus, number>> {
  readonly run: string;
  /** Bytes fetched from registries. */
  readonly bytes: number;
  readonly elapsedMs: number;
  readonly images: readonly Outcome[];
  readonly warnings: readonly Warning[];
  /** Referrers of the images, such as signatures, that were mirrored. */
  readonly referrers: number;
}

type Final = Pick<Outcome, 'status' | 'previous' | 'changes' | 'current' | 'until' | 'code' | 'reason' | 'notes'>;

interface Asked {
  readonly reference: string;
  readonly repository: string;
  /** For a referrer that was not requested: the requested image. */
  referrerOf: string | undefined;
  readonly source: string;
  digest: Digest | undefined;
  /** The digest that was announced last. */
  resolved: Digest | undefined;
  final: Final | undefined;
  bytes: number;
}

/**
 * The record of a run: every requested image has exactly one outcome in it (invariant 7). Events are delivered at least
 * once, so this class also decides which events are new.
 */
export class Outcomes {
  readonly #images = new Map<string, Asked>();
  readonly #warnings = new Map<string, Warning>();
  /** By digest and tag, as in blob events; the first requested image counts the bytes. */
  readonly #found = new Map<string, Asked>();

  /** Bytes of the attempts under way, by blob. */
  readonly #fetched = new Map<Digest, number>();

  /** Adds a requested image. */
  expect(name: ImageName): void {
    this.#asked(name).referrerOf = undefined;
  }

  /** Records an event. Returns whether it is new; repeated events are not shown. */
  observe(event: MirrorEvent): boolean {
    switch (event.type) {
      case 'listed':
        return this.#listed(event);
      case 'resolved': {
        const image = this.#asked(event);
        image.bytes += event.fetchedBytes;
        if (!this.#found.has(foundAs(event))) this.#found.set(foundAs(event), image);
        const isNew = image.final === undefined && image.resolved !== event.digest;
        image.resolved = event.digest;
        return isNew;
      }
      case 'blob': {
        const image = this.#found.get(foundAs(event));
        const count = this.#newBytes(event);
        if (image !== undefined) image.bytes += count;
        return true;
      }
      case 'image': {
        const image = this.#asked(event);
        const { status } = event;
        if (image.final !== undefined) return false;
        if (status !== 'pending') image.final = finalOf(event, status);
        return true;
      }
    }
  }

  /** All images; an image without a result has failed for the reason `unfinished`. */
  *all(unfinished: Pick<Outcome, 'code' | 'reason'>): Generator<Outcome, void, void> {
    for (const { reference, repository, digest, final, bytes, referrerOf } of this.#images.values())
      if (referrerOf === undefined)
        yield {
          reference,
          repository,
          digest: digest ?? null,
          ...(final ?? { status: 'failed', ...unfinished }),
          bytes,
        };
  }

  /** The mirrored referrers, and the bytes that were fetched for referrers. */
  get referrers(): { readonly mirrored: number; readonly bytes: number } {
    let [mirrored, bytes] = [0, 0];
    for (const image of this.#referrers()) {
      if (image.final?.status === 'mirrored') mirrored += 1;
      bytes += image.bytes;
    }
    return { mirrored, bytes };
  }

  /** A referrer that fails does not fail its image. */
  get warnings(): readonly Warning[] {
    const failed: Warning[] = [];
    for (const { source, repository, reference, referrerOf, final } of this.#referrers())
      if (final?.status === 'failed') {
        const reason = `referrer ${reference.slice(source.length + 1)} of ${referrerOf ?? ''}: ${final.reason ?? 'no reason given'}`;
        failed.push({ source, repository, reason });
      }
    return [...this.#warnings.values(), ...failed];
  }

  #referrers(): readonly Asked[] {
    return [...this.#images.values()].filter(({ referrerOf }) => referrerOf !== undefined);
  }

  /** Bytes that arrived since the last event of the blob. */
  #newBytes({ blob, phase, fetched }: BlobEvent): number {
    const before = this.#fetched.get(blob) ?? 0;
    if (phase === 'started' || phase === 'progress' || phase === 'verifying') this.#fetched.set(blob, fetched);
    else this.#fetched.delete(blob);
    // A smaller number belongs to a new attempt.
    return fetched < before ? fetched : fetched - before;
  }

  #listed(event: ListedEvent): boolean {
    const before = this.#images.size;
    for (const tag of event.tags) this.expect(imageName(event, { tag }));
    if (event.upstream === undefined) return this.#images.size > before;
    const { source, repository } = event;
    const key = `${repository} ${source}`;
    const isNew = !this.#warnings.has(key);
    this.#warnings.set(key, { source, repository, reason: noTagsReason(event.upstream) });
    return isNew;
  }

  #asked({ source, reference, repository, digest, referrer }: ImageName): Asked {
    const key = `${repository} ${reference}`;
    let image = this.#images.get(key);
    if (image === undefined) {
      const unknown = { resolved: undefined, final: undefined, bytes: 0 };
      image = { source, reference, repository, digest, referrerOf: referrer?.root, ...unknown };
      this.#images.set(key, image);
    }
    image.digest ??= digest;
    return image;
  }
}

function finalOf({ previous, changes, current, until, code, reason, notes }: ImageEvent, status: FinalStatus): Final {
  return { status, ...defined({ previous, changes, current, until, code, reason, notes }) };
}

/** The number of images in each final state. */
export function countByStatus(images: readonly Pick<Outcome, 'status'>[]): Record<FinalStatus, number> {
  const counts = Object.fromEntries(IMAGE_STATUSES.map((status) => [status, 0])) as Record<FinalStatus, number>;
  for (const { status } of images) counts[status] += 1;
  return counts;
}

/** The reason why no tag of a listed repository is mirrored. */
export function noTagsReason({ count, some }: NonNullable<ListedEvent['upstream']>): string {
  if (count === 0) return 'upstream has no tags';
  const names = some.map(printable).join(', ');
  return `0 of ${plural(count, 'tag matches', 'tags match')} (upstream has ${names}${count > some.length ? ', …' : ''})`;
}

function foundAs({ source, tag, digest }: Pick<ImageName, 'source' | 'tag' | 'digest'>): string {
  return JSON.stringify([source, tag, digest]);
}

/** The displayed name, with the repository in the archive if that differs. */
export function shownName({ reference, repository }: Pick<ImageName, 'reference' | 'repository'>): string {
  const rest = reference.startsWith(repository) ? reference.slice(repository.length) : reference;
  return rest === '' || rest.startsWith(':') || rest.startsWith('@') ? reference : `${reference} (as ${repository})`;
}
