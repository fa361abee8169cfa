import { SendMessageCommand, type SQSClient } from '@aws-sdk/client-sqs';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Archive } from '../../../lib/archive/archive.ts';
import { tempFolder, type TempFolder } from '../temp.ts';
import { deploy, type Deployment, type DeploymentOptions, type FunctionName, FUNCTIONS, QUEUES } from './deployment.ts';
import { LambdaFunction } from './function.ts';
import { drained, type EventSource, EventSourcePoller } from './poller.ts';
import type { Invocation } from './sandbox.ts';

const ROOT = join(import.meta.dirname, '../../..');

/** The deployed bundles, built into a separate folder. */
export async function buildBundles(): Promise<TempFolder> {
  const folder = await tempFolder();
  await promisify(execFile)(process.execPath, [join(ROOT, 'scripts/build.ts'), folder.path]);
  return folder;
}

export interface StackOptions extends DeploymentOptions, Pick<EventSource, 'again' | 'heldBackMs'> {
  /** The layer queue is polled once this resolves. */
  readonly layersEnabled?: Promise<unknown>;
}

/** A running deployment: its queues are polled, and its functions are invoked. */
export class Stack implements AsyncDisposable {
  readonly functions: Readonly<Record<FunctionName, LambdaFunction>>;
  readonly #deployment: Deployment;
  readonly #sqs: SQSClient;
  readonly #pollers: Readonly<Record<string, EventSourcePoller>>;

  private constructor(deployment: Deployment, { sqs, again, heldBackMs, layersEnabled }: StackOptions) {
    this.#deployment = deployment;
    this.#sqs = sqs.client;
    const lambda = (name: FunctionName): [FunctionName, LambdaFunction] => [
      name,
      new LambdaFunction({ ...deployment.functions[name], concurrency: 3 }),
    ];
    this.functions = Object.fromEntries(FUNCTIONS.map(lambda)) as Stack['functions'];
    const poll = (
      queue: EventSource['queue'],
      name: FunctionName,
      limits: { readonly batchSize: number; readonly concurrency: number },
    ): EventSourcePoller =>
      new EventSourcePoller({
        client: sqs.client,
        queue,
        target: this.functions[name],
        ...limits,
        ...(again === undefined ? {} : { again }),
        ...(heldBackMs === undefined ? {} : { heldBackMs }),
        ...(name === 'layer' && layersEnabled !== undefined ? { enabled: layersEnabled } : {}),
      });
    const { queues } = deployment;
    this.#pollers = {
      resolve: poll(queues.resolve, 'resolver', { batchSize: 1, concurrency: 2 }),
      layer: poll(queues.layer, 'layer', { batchSize: 1, concurrency: 3 }),
      finalize: poll(queues.finalize, 'finalizer', { batchSize: 10, concurrency: 2 }),
      ...Object.fromEntries(
        QUEUES.map((name) => [
          `dead ${name}`,
          poll(queues[name].deadLetters, 'dead-letters', { batchSize: 10, concurrency: 1 }),
        ]),
      ),
    };
  }

  static async start(options: StackOptions): Promise<Stack> {
    return new Stack(await deploy(options), options);
  }

  get archive(): Archive {
    return this.#deployment.archive;
  }

  /** The events on the event bus. */
  get events(): Deployment['events'] {
    return this.#deployment.events;
  }

  /** The batches of a queue so far, by the queue's name; `dead layer` for its dead letters. */
  batches(queue: string): readonly (readonly string[])[] {
    return this.#pollers[queue]?.batches ?? [];
  }

  /** Replaces `mirror.yaml`; warm sandboxes read it after a minute. */
  async configure(text: string): Promise<void> {
    await this.#deployment.archive.store.put('config/mirror.yaml', Buffer.from(text));
  }

  /** Removes `mirror.yaml`. */
  async unconfigure(): Promise<void> {
    await this.#deployment.archive.store.delete('config/mirror.yaml');
  }

  /** Sends the event of a schedule of that name. */
  schedule(name: string): Promise<Invocation> {
    const arn = `arn:aws:scheduler:eu-central-1:000000000000:schedule/default/${name}`;
    return this.functions.resolver.invoke({ schedule: { arn, time: new Date().toISOString() } });
  }

  /** Sends any body to a queue. */
  async send(queue: keyof Deployment['queues'], body: string, group: string): Promise<void> {
    const { url: QueueUrl } = this.#deployment.queues[queue];
    const MessageDeduplicationId = randomUUID();
    const command = new SendMessageCommand({
      QueueUrl,
      MessageBody: body,
      MessageGroupId: group,
      MessageDeduplicationId,
    });
    await this.#sqs.send(command);
  }

  /** The number of visible and invisible messages in a queue. */
  waiting(queue: string): Promise<number> {
    return this.#pollers[queue]!.waiting();
  }

  /**
   * Resolves when the given queues are empty; by default, all.
   *
   * @throws Error as soon as a role lacks a permission, even if the function would recover
   */
  drained(...queues: readonly string[]): Promise<void> {
    const pollers = queues.length === 0 ? Object.values(this.#pollers) : queues.map((queue) => this.#pollers[queue]!);
    return Promise.race([drained(pollers), this.#deployment.denied]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const lambda of Object.values(this.functions)) lambda.kill();
    await Promise.all(Object.values(this.#pollers).map((poller) => poller[Symbol.asyncDispose]()));
    await Promise.all(Object.values(this.functions).map((lambda) => lambda[Symbol.asyncDispose]()));
    await this.#deployment[Symbol.asyncDispose]();
  }
}
