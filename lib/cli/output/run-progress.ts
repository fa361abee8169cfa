/** The progress of a whole run: images, bytes, rate and time left. */
import type { Digest } from '../../oci/digest.ts';
import { bytes, plural } from '../../core/format.ts';
import { type BlobEvent, type ImageEvent, imageName, type ImageName, type MirrorEvent } from '../../sync/events.ts';

/** The rate is the mean of this time. */
const RATE_MS = 10_000;

type ImageState = 'expected' | 'resolved' | 'failed' | 'done';

interface Blob {
  /** Undefined for layers of schema 1 manifests. */
  readonly size: number | undefined;
  readonly fetched: number;
  readonly isStored: boolean;
}

interface Sample {
  readonly at: number;
  readonly arrived: number;
}

export class RunProgress {
  readonly #images = new Map<string, ImageState>();
  /** Blobs that the run fetches; images may share them. */
  readonly #blobs = new Map<Digest, Blob>();
  readonly #samples: Sample[] = [];
  /** Bytes since the start, with those of failed attempts. */
  #arrived = 0;

  expect(name: Pick<ImageName, 'repository' | 'reference'>): void {
    if (!this.#images.has(keyOf(name))) this.#images.set(keyOf(name), 'expected');
  }

  observe(event: MirrorEvent): void {
    switch (event.type) {
      case 'listed':
        for (const tag of event.tags) this.expect(imageName(event, { tag }));
        break;
      case 'resolved':
        this.#set(event, 'resolved');
        for (const { digest, size } of event.blobs)
          if (!this.#blobs.has(digest)) this.#blobs.set(digest, { size, fetched: 0, isStored: false });
        break;
      case 'blob':
        this.#observeBlob(event);
        break;
      case 'image':
        this.#set(event, STATES[event.status]);
        break;
    }
  }

  /** Referrers are not counted as images; their bytes are. */
  #set(name: ImageName, state: ImageState): void {
    if (name.referrer === undefined) this.#images.set(keyOf(name), state);
  }

  /** The part that is done, from 0 to 1: of the bytes, or of the images if no byte has to be fetched. */
  get fraction(): number {
    const { images, ended, whole, fetched } = this.#counts();
    return whole > 0 ? Math.min(1, fetched / whole) : images > 0 ? ended / images : 0;
  }

  /** The clauses of a line, most important first. */
  clauses(now: number): string[] {
    const { images, ended, failed, unresolved, whole, fetched } = this.#counts();
    const rate = this.#rate(now);
    const left = (whole - fetched) / rate;
    return [
      `${ended} of ${plural(images, 'image')}${failed === 0 ? '' : ` (${failed} failed)`}`,
      ...(whole === 0 ? [] : [`${bytes(fetched)} of ${bytes(whole)}`]),
      ...(rate === 0 ? [] : [`${bytes(rate * 1000)}/s`]),
      // Unresolved images may add bytes.
      ...(rate === 0 || unresolved > 0 || left <= 0 ? [] : [`${timeLeft(left)} left`]),
    ];
  }

  #observeBlob({ blob, phase, size, fetched }: BlobEvent): void {
    const known = this.#blobs.get(blob);
    const before = known?.fetched ?? 0;
    // A smaller number belongs to a new attempt.
    this.#arrived += fetched < before ? fetched : fetched - before;
    // Another image has stored it.
    if (known?.isStored === true) return;
    // A present blob needs no bytes; a failed blob may start again.
    if (phase === 'present' || phase === 'failed') this.#blobs.delete(blob);
    else {
      const whole = size ?? known?.size;
      const isStored = phase === 'stored';
      this.#blobs.set(blob, { size: whole, fetched: isStored ? (whole ?? fetched) : fetched, isStored });
    }
  }

  #counts() {
    let [ended, failed, unresolved, whole, fetched] = [0, 0, 0, 0, 0];
    for (const state of this.#images.values()) {
      if (state === 'failed') failed += 1;
      if (state === 'failed' || state === 'done') ended += 1;
      if (state === 'expected') unresolved += 1;
    }
    for (const blob of this.#blobs.values()) {
      whole += Math.max(blob.size ?? 0, blob.fetched);
      fetched += blob.fetched;
    }
    return { images: this.#images.size, ended, failed, unresolved, whole, fetched };
  }

  /** Bytes per millisecond. */
  #rate(now: number): number {
    this.#samples.push({ at: now, arrived: this.#arrived });
    while (this.#samples.length > 2 && (this.#samples[1]?.at ?? now) <= now - RATE_MS) this.#samples.shift();
    const [first] = this.#samples;
    return first === undefined || first.at === now ? 0 : (this.#arrived - first.arrived) / (now - first.at);
  }
}

function keyOf({ repository, reference }: Pick<ImageName, 'repository' | 'reference'>): string {
  return `${repository} ${reference}`;
}

const STATES: Readonly<Record<ImageEvent['status'], ImageState>> = {
  pending: 'resolved',
  failed: 'failed',
  mirrored: 'done',
  unchanged: 'done',
  held: 'done',
  unverified: 'done',
  drifted: 'done',
  rejected: 'done',
};

/** `9 s`, `3 min`, `2 h 5 min` */
function timeLeft(ms: number): string {
  if (ms < 60_000) return `${Math.ceil(ms / 1000)} s`;
  const minutes = Math.round(ms / 60_000);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
