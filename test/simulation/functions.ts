/** The Lambda functions: sandboxes that live for several invocations, each with a time limit, and may be killed. */
import type { SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import { handleDeadLetters } from '../../functions/handlers/dead-letters.ts';
import { handleFinalizations } from '../../functions/handlers/finalizations.ts';
import { kept } from '../../functions/kept.ts';
import { handleLayers } from '../../functions/handlers/layers.ts';
import { recordIn } from '../../functions/record.ts';
import { handleResolutions } from '../../functions/handlers/resolutions.ts';
import { RECORDING_MS } from '../../functions/signal.ts';
import { secondsUntilNext } from '../../functions/waiting.ts';
import { Archive } from '../../lib/archive/archive.ts';
import { ociLayout } from '../../lib/archive/oci-layout.ts';
import { parseConfig } from '../../lib/config/config.ts';
import type { Config } from '../../lib/config/mirrors.ts';
import { asFailure, type Failure } from '../../lib/core/failure.ts';
import type { QueueName } from '../../lib/queue/queue.ts';
import { deadlineFrom } from '../../lib/sync/deadline.ts';
import { BufferPool } from '../../lib/sync/transfer/buffer-pool.ts';
import { type CallOptions, Process } from './process.ts';
import { SimQueue } from './queues.ts';
import { PART_BYTES, storeOf } from './store.ts';
import type { System } from './system.ts';

/** A part of a system with its own memory: a sandbox, or a command. */
export interface Instance {
  readonly archive: Archive;
  readonly config: () => Promise<Config>;
  readonly buffers: BufferPool;
  /** The process that currently runs in it. */
  process: Process;
}

const BUFFERED_PARTS = 4;
/** An idle sandbox ends after this time, with the configuration that it has read. */
const SANDBOX_MS = 2 * 60 * 60_000;

/** The archive and the configuration of a process, which may change between two invocations. */
export function instanceOf(system: System, process: Process): Instance {
  const instance: { process: Process } = { process };
  const port = {
    world: system.world,
    get process() {
      return instance.process;
    },
    call: <T>(what: string, effect: () => Promise<T>, options: CallOptions): Promise<T> =>
      instance.process.call(what, effect, options),
  };
  const store = storeOf(port, system);
  const wait = async (ms: number, operation: string, signal: AbortSignal | undefined): Promise<void> => {
    await instance.process.wait(ms);
    if (signal?.aborted === true) throw asFailure(signal.reason, operation, 'archive');
  };
  return Object.assign(instance, {
    archive: new Archive(store, ociLayout, 1, wait),
    buffers: new BufferPool(BUFFERED_PARTS * PART_BYTES, PART_BYTES),
    config: kept({
      operation: 'read configuration',
      // The world has its own clock.
      limit: () => new AbortController().signal,
      read: () => port.call('get mirror.yaml', () => Promise.resolve(system.configText), { side: 'archive' }),
      parse: configOf,
      onRefused: () => undefined,
      now: () => system.world.now,
    }),
  });
}

const configs = new Map<string, Config>();

/** Parses each text once: every invocation reads mirror.yaml, and parsing it takes longer than the rest of its work. */
function configOf(text: string): Config {
  const config = configs.get(text) ?? parseConfig(text, 'mirror.yaml');
  configs.set(text, config);
  return config;
}

interface Role {
  readonly name: string;
  readonly queue: QueueName;
  readonly isDeadLetters: boolean;
  readonly timeoutMs: number;
}

export class Functions {
  readonly queues: Readonly<Record<QueueName, SimQueue>>;
  readonly all: readonly SimQueue[];
  readonly #system: System;
  readonly #idle = new Map<string, { readonly instance: Instance; readonly since: number }[]>();
  #sandboxes = 0;

  constructor(system: System) {
    this.#system = system;
    const { timeouts, maxReceives } = system.conditions;
    const make = (
      queue: QueueName,
      name: string,
      timeoutMs: number,
      concurrency: number,
      batch: number,
    ): SimQueue[] => {
      const role = (isDeadLetters: boolean): Role => ({
        name: isDeadLetters ? `dead ${name}` : name,
        queue,
        isDeadLetters,
        timeoutMs: isDeadLetters ? 60_000 : timeoutMs,
      });
      const dead = this.#queue(role(true), 2, 10, undefined);
      return [this.#queue(role(false), concurrency, batch, maxReceives, dead), dead];
    };
    const [resolve, ...a] = make('resolve', 'resolver', timeouts.resolver, 3, 1);
    const [layer, ...b] = make('layer', 'layer', timeouts.layer, 4, 1);
    const [finalize, ...c] = make('finalize', 'finalizer', timeouts.finalizer, 3, 10);
    if (resolve === undefined || layer === undefined || finalize === undefined) throw new Error('a queue is missing');
    this.queues = { resolve, layer, finalize };
    this.all = [resolve, layer, finalize, ...a, ...b, ...c];
  }

  #queue(role: Role, concurrency: number, batch: number, maxReceives: number | undefined, dead?: SimQueue): SimQueue {
    const options = {
      name: role.name,
      visibilityMs: role.timeoutMs + 300_000,
      concurrency,
      batch,
      maxReceives,
      invoke: (records: readonly SQSRecord[]) => this.#invoke(role, records),
    };
    return new SimQueue(this.#system.world, options, dead);
  }

  /** Never rejects, and resolves even if the function is killed. */
  #invoke(role: Role, records: readonly SQSRecord[]): Promise<ReadonlySet<string> | 'all'> {
    const { world, faults } = this.#system;
    const [first] = records;
    const name = `${first?.messageId ?? role.name}/${first?.attributes.ApproximateReceiveCount ?? ''}`;
    return new Promise((resolve) => {
      const over = (result: ReadonlySet<string> | 'all'): void => {
        world.after(1, () => {
          resolve(result);
        });
      };
      const process = new Process(name, world, faults, () => {
        over('all');
      });
      process.lane = first?.attributes.MessageGroupId ?? '';
      process.mustResume = first !== undefined && isContinued(first);
      const instance = this.#sandbox(role, process);
      if (role.queue === 'finalize') for (const { body } of records) this.#system.policies.delivered(body);
      world.say(name, `begins with ${records.length} of ${first?.attributes.MessageGroupId ?? ''}: ${aboutOf(first)}`);
      process.after(role.timeoutMs, () => {
        process.kill('its time is over');
      });
      this.#handle(role, { Records: [...records] }, instance).then(
        ({ batchItemFailures }) => {
          this.#end(role, instance);
          over(new Set(batchItemFailures.map(({ itemIdentifier }) => itemIdentifier)));
        },
        (error: unknown) => {
          world.say(name, `fails: ${String(error)}`);
          this.#end(role, instance);
          over('all');
        },
      );
    });
  }

  /** An idle sandbox, or a new one. The sandbox ends with a killed process. */
  #sandbox(role: Role, process: Process): Instance {
    const { world } = this.#system;
    const idle = this.#idle.get(role.name) ?? [];
    const known = world.chance(`sandbox of ${process.name}`) < 0.7 ? idle.pop() : undefined;
    if (known !== undefined && world.now - known.since < SANDBOX_MS) {
      known.instance.process = process;
      return known.instance;
    }
    this.#sandboxes += 1;
    return instanceOf(this.#system, process);
  }

  #end(role: Role, instance: Instance): void {
    instance.process.end();
    const idle = { instance, since: this.#system.world.now };
    this.#idle.set(role.name, [...(this.#idle.get(role.name) ?? []), idle]);
  }

  #handle(role: Role, event: SQSEvent, instance: Instance): Promise<SQSBatchResponse> {
    const { world, upstream, conditions } = this.#system;
    const { process, archive, config, buffers } = instance;
    const signal = process.timeout(role.timeoutMs - RECORDING_MS);
    const ends = world.now + role.timeoutMs;
    const queue = this.queues[role.queue];
    const call = <T>(what: string, effect: () => T): Promise<T> =>
      process.call(what, () => Promise.resolve(effect()), { side: 'queue', signal });
    const record = recordIn(archive, undefined);
    const queues = this.#system.queuesFor(process);
    const ports = {
      archive,
      config,
      buffers,
      queues,
      record,
      lanes: conditions.lanes,
      maxReceives: conditions.maxReceives,
      sources: async () => {
        await config();
        return upstream.sources(process);
      },
      observe: this.#system.observe,
      leftOut: this.#system.leftOut,
      onFailure: ({ messageId }: SQSRecord, failure: Failure) => {
        world.say(process.name, `${messageId} fails: ${failure.message}`);
      },
      async postpone(records: readonly SQSRecord[], failure?: Failure) {
        const seconds = secondsUntilNext(failure, records[0]);
        for (const { messageId } of records)
          await call(`hide ${messageId} for ${seconds} s`, () => queue.hide(messageId, seconds)).catch(() => undefined);
      },
      requeue: (of: SQSRecord) => call(`requeue ${of.messageId}`, () => queue.requeue(of)),
    };
    if (role.isDeadLetters) return handleDeadLetters(event, ports, signal);
    switch (role.queue) {
      case 'resolve':
        return handleResolutions(event, ports, signal);
      case 'layer':
        return handleLayers(event, ports, {
          signal,
          deadline: deadlineFrom(
            () => ends - world.now,
            (ms) => process.timeout(ms),
          ),
        });
      case 'finalize':
        return handleFinalizations(event, ports, signal);
    }
  }
}

function isContinued({ body, attributes }: SQSRecord): boolean {
  return Number(attributes.ApproximateReceiveCount) > 1 || !body.includes('"continuation":0');
}

function aboutOf(record: SQSRecord | undefined): string {
  const [, about = ''] = /"(?:blob":\{"digest|tag|source)":"([^"]+)"/.exec(record?.body ?? '') ?? [];
  return about.slice(0, 40);
}
