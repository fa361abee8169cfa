/**
 * The memory that blobs on their way may take, all together. A part's buffer is taken before its first byte is asked
 * for, so that what is not there to be filled is not fetched: this is where backpressure comes from.
 *
 * Every blob takes its parts in ascending order and gives each back once it is stored and hashed, which needs only parts
 * that it took before. So the oldest part of each blob can always be finished, and blobs that share a window never
 * wait for each other in a circle.
 */
export class Window {
  readonly totalBytes: number;
  #used = 0;
  readonly #spare: Buffer[] = [];
  readonly #waiting: { readonly bytes: number; readonly grant: () => void }[] = [];

  constructor(totalBytes: number) {
    this.totalBytes = totalBytes;
  }

  get usedBytes(): number {
    return this.#used;
  }

  /**
   * A buffer of `bytes` bytes with arbitrary content. One that is larger than the whole window is granted when nothing
   * else is out. Rejects with the signal's reason when that comes first.
   */
  async take(bytes: number, signal?: AbortSignal): Promise<Buffer> {
    signal?.throwIfAborted();
    const free = this.tryTake(bytes);
    if (free !== undefined) return free;
    await this.#wait(bytes, signal);
    return this.#buffer(bytes);
  }

  /** The same, if it can be had right now and nobody waits for it. */
  tryTake(bytes: number): Buffer | undefined {
    if (this.#waiting.length > 0 || !this.#fits(bytes)) return undefined;
    this.#used += bytes;
    return this.#buffer(bytes);
  }

  /** Gives a buffer back; whoever still reads it is wrong. */
  give(buffer: Buffer): void {
    this.#used -= buffer.length;
    this.#spare.push(buffer);
    this.#trim();
    this.#grant();
  }

  /** What has been counted already; where there is no memory for it, it is not counted any more. */
  #buffer(bytes: number): Buffer {
    const at = this.#spare.findIndex((buffer) => buffer.length === bytes);
    const [spare] = at === -1 ? [] : this.#spare.splice(at, 1);
    this.#trim();
    try {
      return spare ?? Buffer.allocUnsafeSlow(bytes);
    } catch (error) {
      this.#used -= bytes;
      this.#grant();
      throw error;
    }
  }

  #grant(): void {
    for (let next = this.#waiting[0]; next !== undefined && this.#fits(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#used += next.bytes;
      next.grant();
    }
  }

  #fits(bytes: number): boolean {
    return this.#used === 0 || this.#used + bytes <= this.totalBytes;
  }

  /** Spare buffers count as well: together with what is out they never exceed the window. */
  #trim(): void {
    let held = this.#used;
    for (const buffer of this.#spare) held += buffer.length;
    while (held > this.totalBytes) {
      const dropped = this.#spare.shift();
      if (dropped === undefined) return;
      held -= dropped.length;
    }
  }

  async #wait(bytes: number, signal?: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        this.#grant();
        reject(signal?.reason as Error);
      };
      const waiter = {
        bytes,
        grant: (): void => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(waiter);
    });
  }
}
