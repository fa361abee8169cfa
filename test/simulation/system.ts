/** The whole system in one simulated world: the bucket, the queues, the functions, and the registries. */
import type { ImageEvent, MirrorEvent } from '../../lib/sync/events.ts';
import type { ResolveMessage } from '../../lib/queue/messages.ts';
import type { Queues } from '../../lib/queue/queue.ts';
import { MemoryStore } from '../kit/memory-store.ts';
import { Audit } from './audit.ts';
import { Functions } from './functions.ts';
import { PolicyAudit } from './policies.ts';
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
  readonly kind: 'decided' | 'left out';
}

export class System {
  readonly world: World;
  readonly faults: Faults;
  readonly conditions: Conditions;
  readonly memory: MemoryStore;
  readonly upstream: Upstream;
  readonly policies: PolicyAudit;
  readonly audit: Audit;
  readonly functions: Functions;
  readonly outcomes: Outcome[] = [];
  /** The bodies of all messages that were sent to the resolve queue. */
  readonly requested: string[] = [];
  #configText = '';
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
    this.policies = new PolicyAudit(this.world);
    this.upstream.onNamed = (...of) => {
      this.policies.asked(...of);
    };
    this.audit = new Audit(this.memory, this.upstream, this.world, this.policies);
    this.functions = new Functions(this);
  }

  get configText(): string {
    return this.#configText;
  }

  /** Replaces mirror.yaml. */
  configure(text: string): void {
    this.#configText = text;
    this.policies.configured(text);
  }

  /** The final states that the resolver decides itself: `unchanged`, and `held` and others by the policy. */
  readonly observe = (event: MirrorEvent): void => {
    if (event.type === 'image' && event.status !== 'pending') this.outcomes.push({ event, kind: 'decided' });
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

  /** Ends all faults of processes and registries. */
  calm(): void {
    this.faults.stop();
    this.upstream.calm();
    for (const queue of this.functions.all) queue.isReliable = true;
  }

  get isIdle(): boolean {
    return this.functions.all.every(({ size }) => size === 0);
  }

  /** Some messages have the form of earlier releases, without the hints that later releases add. */
  #inForm(body: string): string {
    const message = JSON.parse(body) as Record<string, unknown> & { readonly type: string };
    if (message.type === 'resolve') this.#request(body);
    if (this.world.chance(`form ${body.length} ${this.world.now}`) >= this.conditions.earlierMessages) return body;
    if (message.type === 'resolve')
      return JSON.stringify({ ...message, what: { ...(message['what'] as object), sole: true } });
    if (message.type !== 'layer') return body;
    const { stalled: _, blob, ...rest } = message;
    const { diffIds: __, ...earlier } = blob as Record<string, unknown>;
    return JSON.stringify({ ...rest, blob: earlier, ...(rest['look'] === 'receipt' ? { look: 'nothing' } : {}) });
  }

  #request(body: string): void {
    this.requested.push(body);
    const { repository, what } = JSON.parse(body) as Pick<ResolveMessage, 'repository' | 'what'>;
    if (what.kind !== 'images') return;
    // Observations without a tag begin with the request.
    for (const { digest } of what.images)
      if (digest !== undefined) this.policies.asked(repository, '', digest, this.world.now);
  }
}
