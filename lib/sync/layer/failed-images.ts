import type { Failure } from '../../core/failure.ts';
import { Lru } from '../../core/lru.ts';
import type { LayerMessage } from '../../queue/messages.ts';
import { isTemporary } from '../delivery.ts';

/** The layers of an image that may fail in all deliveries before its other layers are skipped. */
const MAX_FAILED = 3;

/** Images in memory. The layers of a forgotten image are fetched, as those of any other. */
const IMAGES = 10_000;

/**
 * The images whose failure is recorded, so that a registry cannot occupy a run with the other layers of an image. Each image has a
 * message of its own for a shared layer, so the other images get theirs. After temporary failures, some more layers are tried: those
 * that are stored now are not fetched by the next run.
 */
export class FailedImages {
  readonly #failed = new Lru<string, number>(IMAGES);

  /** Counts a layer whose failure was sent to the finalizer. */
  add(message: LayerMessage, failure: Failure): void {
    const before = this.#failed.get(keyOf(message)) ?? 0;
    this.#failed.set(keyOf(message), isTemporary(failure) ? before + 1 : MAX_FAILED);
  }

  /** Whether the other layers of the image are skipped. */
  skips(message: LayerMessage): boolean {
    return (this.#failed.get(keyOf(message)) ?? 0) >= MAX_FAILED;
  }
}

/** The finalizer has one result for each of these. */
function keyOf({ run, source, repository, image: { tag, digest, asked } }: LayerMessage): string {
  return JSON.stringify([run, source, repository, tag, digest, asked]);
}
