/**
 * SQS servers for tests: fauxqs, in this process; and ElasticMQ, which is slower to start and closer to SQS: it hands out
 * several messages of a group in one receive, and refuses the receipt handles of earlier receives.
 */
import { CreateQueueCommand, GetQueueAttributesCommand, SQSClient } from '@aws-sdk/client-sqs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { startFauxqs } from 'fauxqs';
import { tempFolder } from './temp.ts';

export interface SqsServer extends AsyncDisposable {
  readonly endpoint: string;
  readonly client: SQSClient;
  /** The environment that the SDK in another process needs. */
  readonly env: Readonly<Record<string, string>>;
  /** A FIFO queue as infra/queues.yml makes them, with its dead-letter queue. */
  createQueue(name: string, options: QueueOptions): Promise<TestQueue>;
}

export interface QueueOptions {
  readonly visibilitySeconds: number;
  readonly maxReceives: number;
}

export interface QueueAddress {
  readonly url: string;
  readonly arn: string;
}

export interface TestQueue extends QueueAddress {
  readonly deadLetters: QueueAddress;
}

const REGION = 'eu-central-1';
const CREDENTIALS = { accessKeyId: 'test', secretAccessKey: 'test' };

export async function startFauxSqs(): Promise<SqsServer> {
  const server = await startFauxqs({ port: 0, logger: false, defaultRegion: REGION });
  return sqsServer(server.address, () => server.stop());
}

/** The folder with ElasticMQ's jars from `mvn dependency:copy-dependencies`. */
const JARS = process.env['MIRROR_SYNC_TEST_ELASTICMQ'] ?? '';

export async function startElasticMq(): Promise<SqsServer | { readonly skipped: string }> {
  if (JARS === '') return { skipped: 'MIRROR_SYNC_TEST_ELASTICMQ does not name the folder of ElasticMQ’s jars' };
  const jars = globSync('*.jar', { cwd: JARS }).map((jar) => join(JARS, jar));
  if (jars.length === 0) return { skipped: `${JARS} (MIRROR_SYNC_TEST_ELASTICMQ) has no jars` };
  const java = (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, 'java')));
  if (!java) return { skipped: 'java is not on the path' };

  const folder = await tempFolder();
  const port = await freePort();
  await writeFile(
    folder.join('elasticmq.conf'),
    `include classpath("application.conf")
     node-address { host = 127.0.0.1, port = ${port} }
     rest-sqs { bind-hostname = 127.0.0.1, bind-port = ${port} }
     rest-stats.enabled = false
     aws { region = ${REGION}, accountId = 000000000000 }`,
  );
  const child = spawn(
    'java',
    [
      '-Xmx256m',
      `-Dconfig.file=${folder.join('elasticmq.conf')}`,
      '-cp',
      jars.join(delimiter),
      'org.elasticmq.server.Main',
    ],
    { cwd: folder.path, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const exited = once(child, 'exit');
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
    await folder.remove();
  };
  const started = Promise.withResolvers<void>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line.includes('=== ElasticMQ server') && line.includes('started')) started.resolve();
  });
  const failed = exited.then(() => Promise.reject(new Error('ElasticMQ ended before it had started')));
  await Promise.race([started.promise, failed]);
  failed.catch(() => undefined);
  return sqsServer(`http://127.0.0.1:${port}`, stop);
}

function sqsServer(endpoint: string, stop: () => Promise<void>): SqsServer {
  const client = new SQSClient({ endpoint, region: REGION, credentials: CREDENTIALS });
  const create = async (name: string, attributes: Record<string, string>): Promise<QueueAddress> => {
    const Attributes = { FifoQueue: 'true', ...attributes };
    const { QueueUrl = '' } = await client.send(new CreateQueueCommand({ QueueName: `${name}.fifo`, Attributes }));
    // The URLs of some servers contain names that only these servers resolve.
    const url = new URL(new URL(QueueUrl).pathname, endpoint).href;
    const asked = new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ['QueueArn'] });
    return { url, arn: (await client.send(asked)).Attributes?.['QueueArn'] ?? '' };
  };
  return {
    endpoint,
    client,
    env: {
      AWS_ENDPOINT_URL_SQS: endpoint,
      AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
    },
    async createQueue(name, { visibilitySeconds, maxReceives }) {
      const deadLetters = await create(`${name}-dead`, {});
      const queue = await create(name, {
        VisibilityTimeout: String(visibilitySeconds),
        RedrivePolicy: JSON.stringify({ deadLetterTargetArn: deadLetters.arn, maxReceiveCount: maxReceives }),
      });
      return { ...queue, deadLetters };
    },
    async [Symbol.asyncDispose]() {
      client.destroy();
      await stop();
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
