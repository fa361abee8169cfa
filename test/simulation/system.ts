/** The whole system in one simulated world: the bucket, the queues, the functions, and the registries. */
import type { ImageEvent, MirrorEvent } from '../../lib/sync/events.ts';
import type { Queues } from '../../lib/queue/queue.ts';
import { MemoryStore } from '../kit/memory-store.ts';
import { Audit } from './audit.ts';
import { Functions } from './functions.ts';
import { Faults, type Process, type Rates } from './process.ts';
import { queuesOf } from './queues.ts';
import { PART_BYTES, type Weather } from './store.ts';
import { Upstream } from './upstream.ts';
import { World } from './world.ts';

/** The settings of a schedule. */
export interface Conditions extends Weather {
  readonly rates: Rates;
  readonly lanes: number;
  readonly maxReceives: number;
  /** Time limits in milliseconds. */
  readonly timeouts: { readonly resolver: number; readonly layer: number; readonly finalizer: number };
  /** The share of messages in the form of an earlier release. */
  readonly earlierMessages: number;
}

/** An image of a run whose final state another message brings. */
interface Outcome {
  readonly event: ImageEvent;
  readonly kind: 'unchanged' | 'left out';
}

export class System {
  readonly world: World;
  readonly faults: Faults;
  readonly conditions: Conditions;
  readonly memory: MemoryStore;
  readonly upstream: Upstream;
  readonly audit: Audit;
  readonly functions: Functions;
  readonly outcomes: Outcome[] = [];
  /** The bodies of all messages that the resolve queue was asked to take. */
  readonly requested: string[] = [];
  configText = '';
  #ids = 0;

  constructor(seed: number, conditions: Conditions, only?: ReadonlySet<string>) {
    this.world = new World(seed);
    this.faults = new Faults(this.world, conditions.rates, only);
    this.conditions = conditions;
    this.upstream = new Upstream(this.world);
    this.memory = new MemoryStore({
      name: 's3://bucket',
      limits: { minPartBytes: 1, usualPartBytes: PART_BYTES },
      id: () => String((this.#ids += 1)),
      now: () => this.world.now,
      onChange: (key) => {
        this.audit.changed(key);
      },
    });
    this.audit = new Audit(this.memory, this.upstream, this.world);
    this.functions = new Functions(this);
  }

  readonly observe = (event: MirrorEvent): void => {
    if (event.type === 'image' && event.status === 'unchanged') this.outcomes.push({ event, kind: 'unchanged' });
  };

  readonly leftOut = (event: ImageEvent): void => {
    this.outcomes.push({ event, kind: 'left out' });
  };

  queuesFor(process: Process): Queues {
    return queuesOf(
      this.functions.queues,
      this.world,
      (what, effect, signal) => process.call(what, effect, { side: 'queue', signal }),
      (body) => this.#inForm(body),
    );
  }

  /** From now on, no fault happens, and the registries answer. */
  calm(): void {
    this.faults.stop();
    this.upstream.calm();
    for (const queue of this.functions.all) queue.isReliable = true;
  }

  get isIdle(): boolean {
    return this.functions.all.every(({ size }) => size === 0);
  }

  /** Some messages have the form of earlier releases, without hints that those did not write. */
  #inForm(body: string): string {
    const message = JSON.parse(body) as Record<string, unknown> & { readonly type: string };
    if (message.type === 'resolve') this.requested.push(body);
    if (this.world.chance(`form ${body.length} ${this.world.now}`) >= this.conditions.earlierMessages) return body;
    if (message.type === 'resolve')
      return JSON.stringify({ ...message, what: { ...(message['what'] as object), sole: true } });
    if (message.type !== 'layer') return body;
    const { stalled: _, blob, ...rest } = message;
    const { diffIds: __, ...earlier } = blob as Record<string, unknown>;
    return JSON.stringify({ ...rest, blob: earlier, ...(rest['look'] === 'receipt' ? { look: 'nothing' } : {}) });
  }
}
