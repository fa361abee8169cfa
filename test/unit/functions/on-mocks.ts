/** The handlers in this process, over mocks of the AWS clients that record every request. */
import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import {
  ChangeMessageVisibilityCommand,
  SendMessageBatchCommand,
  type SendMessageBatchCommandInput,
  SendMessageCommand,
  SQSClient,
} from '@aws-sdk/client-sqs';
import type { Context } from 'aws-lambda';
import { mockClient } from 'aws-sdk-client-mock';
import { vi } from 'vitest';
import { metricsIn, saidIn } from '../../kit/lambda/told.ts';
import { mockS3, type S3Mock, type SendArguments } from '../../kit/s3-mock.ts';

export const MAX_RECEIVES = 3;

const QUEUES = 'https://sqs.example.com/1/';
const SECRET = 'arn:aws:secretsmanager:eu-central-1:000000000000:secret:';
const ENVIRONMENT = {
  AWS_REGION: 'eu-central-1',
  POWERTOOLS_SERVICE_NAME: 'sample',
  POWERTOOLS_METRICS_NAMESPACE: 'MirrorSync',
  MIRROR_SYNC_ARCHIVE: 's3://bucket/archive',
  MIRROR_SYNC_CONFIG: 's3://bucket/config/mirror.yaml',
  MIRROR_SYNC_RESOLVE_QUEUE_URL: `${QUEUES}resolve.fifo`,
  MIRROR_SYNC_LAYER_QUEUE_URL: `${QUEUES}layer.fifo`,
  MIRROR_SYNC_FINALIZE_QUEUE_URL: `${QUEUES}finalize.fifo`,
  MIRROR_SYNC_MAX_RECEIVES: String(MAX_RECEIVES),
  MIRROR_SYNC_CREDENTIALS_SECRET: `${SECRET}credentials`,
  MIRROR_SYNC_WEBHOOK_SECRET: `${SECRET}webhook`,
  MIRROR_SYNC_REGISTRY_TOKENS_SECRET: `${SECRET}tokens`,
  MIRROR_SYNC_EVENT_BUS: 'bus',
};

export class OnMocks {
  readonly s3: S3Mock = mockS3();
  /** By the last part of the ARN: the text, or the error of each read. A secret of null gets no response. */
  readonly secrets: Record<string, string | Error | null> = { credentials: '{}', webhook: '{}' };
  readonly #sqs = mockClient(SQSClient);
  readonly #bridge = mockClient(EventBridgeClient);
  readonly #secretsManager = mockClient(SecretsManagerClient);
  readonly #written: string[] = [];

  constructor() {
    // Each test starts without the values that a function caches for its sandbox.
    vi.resetModules();
    for (const [name, value] of Object.entries(ENVIRONMENT)) vi.stubEnv(name, value);
    for (const stream of [process.stdout, process.stderr])
      vi.spyOn(stream, 'write').mockImplementation((text) => this.#written.push(String(text)) > 0);
    this.#sqs.on(SendMessageBatchCommand).callsFake(({ Entries = [] }: SendMessageBatchCommandInput) =>
      Promise.resolve({
        Successful: Entries.map(({ Id }) => ({ Id })),
      }),
    );
    this.#bridge.on(PutEventsCommand).resolves({});
    this.#sqs.on(SendMessageCommand).resolves({}).on(ChangeMessageVisibilityCommand).resolves({});
    this.#secretsManager.on(GetSecretValueCommand).callsFake(({ SecretId }: { readonly SecretId: string }) => {
      const secret = this.secrets[SecretId.split(':').at(-1) ?? ''];
      if (secret === null) return Promise.withResolvers().promise;
      return secret instanceof Error ? Promise.reject(secret) : Promise.resolve({ SecretString: secret });
    });
  }

  [Symbol.dispose](): void {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
    this.#sqs.restore();
    this.#bridge.restore();
    this.#secretsManager.restore();
    this.s3.restore();
  }

  set config(text: string) {
    this.s3.objects.set('config/mirror.yaml', Buffer.from(text));
  }

  /** Messages that were sent to a queue, and whether each request can be aborted. */
  sent(queue: string): { readonly message: object; readonly isAbortable: boolean }[] {
    return this.#sqs.commandCalls(SendMessageBatchCommand, { QueueUrl: urlOf(queue) }).flatMap(({ args }) => {
      const [, options] = args as unknown as SendArguments;
      const isAbortable = options?.abortSignal !== undefined;
      const { Entries = [] } = args[0].input;
      return Entries.map(({ MessageBody = '' }) => ({ message: JSON.parse(MessageBody) as object, isAbortable }));
    });
  }

  /** Bodies of messages that were sent to the end of their queue. */
  requeued(queue: string): (string | undefined)[] {
    const calls = this.#sqs.commandCalls(SendMessageCommand, { QueueUrl: urlOf(queue) });
    return calls.map(({ args: [{ input }] }) => input.MessageBody);
  }

  /** Receipt handles of messages that return later, with the seconds until then. */
  postponed(queue: string): (readonly [string | undefined, number | undefined])[] {
    const calls = this.#sqs.commandCalls(ChangeMessageVisibilityCommand, { QueueUrl: urlOf(queue) });
    return calls.map(({ args: [{ input }] }) => [input.ReceiptHandle, input.VisibilityTimeout] as const);
  }

  /** Whether each request to the event bus can be aborted. */
  get areEventsAbortable(): boolean {
    return this.#bridge
      .commandCalls(PutEventsCommand)
      .every(({ args }) => (args as unknown as SendArguments)[1]?.abortSignal !== undefined);
  }

  get events(): { readonly bus: string | undefined; readonly type: string | undefined }[] {
    return this.#bridge
      .commandCalls(PutEventsCommand)
      .flatMap(({ args: [{ input }] }) => input.Entries ?? [])
      .map(({ EventBusName: bus, DetailType: type }) => ({ bus, type }));
  }

  /** The sum of each metric. */
  get metrics(): Readonly<Record<string, number>> {
    return metricsIn(this.#written.join('').split('\n'));
  }

  /** Lines of the log. */
  get log(): Readonly<Record<string, unknown>>[] {
    return saidIn(this.#written.join('').split('\n'));
  }
}

function urlOf(queue: string): string {
  return `${QUEUES}${queue}.fifo`;
}

export function contextOf(): Context {
  return {
    awsRequestId: 'request-1',
    functionName: 'function',
    getRemainingTimeInMillis: () => 60_000,
  } as Context;
}
