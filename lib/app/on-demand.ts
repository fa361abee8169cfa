/** Runs the syncs that requests to a server order, in the server's process. */
import { asFailure, Failure } from '../core/failure.ts';
import { Semaphore } from '../core/semaphore.ts';
import type { LoadedConfig } from './config-file.ts';
import { DEFAULT_CONCURRENCY, DEFAULT_MAX_WAIT_MS } from './defaults.ts';
import type { Host } from './host.ts';
import type { MissingOrder } from './missing.ts';
import { type OpenArchive, openArchive } from './open-archive.ts';
import { runMessages, type SyncHost } from './sync.ts';

export interface OnDemandOptions extends Omit<SyncHost, 'expect'>, Host {
  /** The address of the archive. */
  readonly archive: string;
  readonly config: LoadedConfig;
}

/** Syncs that run concurrently, so that a large image does not delay all others. */
const RUNS = 3;
/** The maximum number of orders that wait for a sync: those of about three minutes at the maximum rate. */
const MAX_WAITING = 100;

export class OnDemand {
  readonly #o: OnDemandOptions;
  readonly #slots = new Semaphore(RUNS);
  readonly #running = new Map<string, Promise<void>>();
  /**
   * The archive is open for writes only during a sync, because other processes detect an open archive as a running
   * sync.
   */
  #opened: Promise<OpenArchive> | undefined;
  #users = 0;

  /** @throws Failure (side `input`) for an archive that is not writable */
  static async open(options: OnDemandOptions): Promise<OnDemand> {
    await using opened = await openArchive(options.archive, 'write', options);
    await opened.prepare();
    return new OnDemand(options);
  }

  private constructor(options: OnDemandOptions) {
    this.#o = options;
  }

  /**
   * Starts the sync of an order, unless it runs already. Its result is an event.
   *
   * @throws Failure if too many orders wait
   */
  start(order: MissingOrder): void {
    if (this.#running.has(order.key) || this.#o.signal.aborted) return;
    if (this.#running.size >= RUNS + MAX_WAITING)
      throw new Failure({
        operation: `sync ${order.key}`,
        side: 'queue',
        code: 'unavailable',
        detail: `${MAX_WAITING} images wait for their sync`,
      });
    this.#running.set(
      order.key,
      this.#sync(order).finally(() => this.#running.delete(order.key)),
    );
  }

  /** Resolves when no sync runs. The signal of the options ends the syncs; the next sync continues them. */
  async ended(): Promise<void> {
    await Promise.all(this.#running.values());
  }

  /** Never rejects. */
  async #sync(order: MissingOrder): Promise<void> {
    const { config, signal, notice } = this.#o;
    const attestKey = this.#o.env['MIRROR_SYNC_ATTEST_KEY'] || undefined;
    const settings = { tags: undefined, insecure: [], foreignHosts: [], authfile: undefined, attestKey };
    const limits = { concurrency: DEFAULT_CONCURRENCY, maxWaitMs: DEFAULT_MAX_WAIT_MS };
    try {
      await this.#slots.with(async () => {
        const opened = await this.#open();
        try {
          await runMessages(order, { ...settings, ...limits, config }, opened, this.#o);
        } finally {
          await this.#close(opened);
        }
      }, signal);
    } catch (error) {
      if (!signal.aborted) notice(`sync ${order.key}: ${asFailure(error, 'sync', 'archive').message}`);
    }
  }

  async #open(): Promise<OpenArchive> {
    this.#users += 1;
    const opening = (this.#opened ??= openArchive(this.#o.archive, 'write', this.#o));
    try {
      return await opening;
    } catch (error) {
      this.#users -= 1;
      if (this.#opened === opening) this.#opened = undefined;
      throw error;
    }
  }

  async #close(opened: OpenArchive): Promise<void> {
    this.#users -= 1;
    if (this.#users > 0) return;
    this.#opened = undefined;
    await opened[Symbol.asyncDispose]();
  }
}
