/**
 * The memory for the windows of all concurrent zstd streams of a process. A window is counted before it is allocated.
 *
 * A blob that arrives from a registry takes a window only if one is free, and never waits. A blob in the store waits for
 * its window, and needs it only for a short time. If it has waited for a while, the windows of arriving blobs are taken
 * back, oldest first, because a registry may send slowly for hours. Those blobs are unpacked from the store later.
 */
import { Semaphore } from '../core/semaphore.ts';

/** Memory for a window. The holder gives it back once, when the window is freed. */
export interface Window {
  give(): void;
}

interface Arriving {
  readonly bytes: number;
  readonly stop: () => void;
}

export class Windows {
  readonly #memory: Semaphore;
  readonly #patienceMs: number;
  /** The windows of arriving blobs that were not taken back, oldest first. */
  readonly #arriving = new Set<Arriving>();

  /**
   * @param bytes the memory of all windows
   * @param patienceMs the time that a blob in the store waits before windows are taken back, in milliseconds
   */
  constructor(bytes: number, patienceMs: number) {
    this.#memory = new Semaphore(bytes);
    this.#patienceMs = patienceMs;
  }

  /**
   * Takes a window for an arriving blob; undefined if the memory is used up.
   *
   * @param stop called once if the window is taken back: the holder frees the window, and gives it back
   */
  tryTake(bytes: number, stop: () => void): Window | undefined {
    if (!this.#memory.tryTake(bytes)) return undefined;
    const arriving = { bytes, stop };
    this.#arriving.add(arriving);
    return {
      give: () => {
        this.#arriving.delete(arriving);
        this.#memory.give(bytes);
      },
    };
  }

  /** Waits for a window for a blob in the store. Rejects with the signal's reason if it is aborted first. */
  async take(bytes: number, signal: AbortSignal): Promise<Window> {
    const timer = setTimeout(() => {
      this.#takeBack(bytes);
    }, this.#patienceMs);
    try {
      await this.#memory.take(signal, bytes);
    } finally {
      clearTimeout(timer);
    }
    return {
      give: () => {
        this.#memory.give(bytes);
      },
    };
  }

  /** While a blob waits, no arriving blob takes a window, so this is done once for each wait. */
  #takeBack(bytes: number): void {
    let missing = bytes - this.#memory.free;
    for (const arriving of this.#arriving) {
      if (missing <= 0) return;
      missing -= arriving.bytes;
      this.#arriving.delete(arriving);
      arriving.stop();
    }
  }
}
