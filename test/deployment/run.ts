/**
 * Deploys to LocalStack with the real framework, as docs/deploy.md says, and mirrors through the deployed functions: their
 * bundles, roles, queues and event source mappings. Then it deploys again with other parameters, mirrors again, and removes
 * everything. `npm run build` has made the bundles.
 *
 *   node test/deployment/run.ts VENV
 *
 * VENV is the Python environment that .ci/run makes. Logs stay where a run has failed.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { get, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual, promisify } from 'node:util';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { CreateQueueCommand, ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import type { RunSummary } from '../../lib/sync/run/summary.ts';
import { startRegistry } from '../kit/registry.ts';
import { sharedImage } from '../kit/shared-images.ts';
import { tempFolder } from '../kit/temp.ts';
import { startLocalStack } from './localstack.ts';

const ROOT = join(import.meta.dirname, '../..');
const SERVERLESS = join(ROOT, 'node_modules/serverless/bin/serverless.js');
const MAIN = join(ROOT, 'lib/cli/main.ts');
const IMAGES = 10;
const TOPIC = 'arn:aws:sns:eu-central-1:000000000000:on-call';

const [venv] = process.argv.slice(2);
if (venv === undefined) throw new Error('run deployment: give the Python environment with LocalStack');

const say = (text: string): void => {
  process.stdout.write(`${String(Math.round(process.uptime())).padStart(4)} s  ${text}\n`);
};

// Ended from outside, it still ends what it has started.
const stopped = new AbortController();
process.once('SIGTERM', () => stopped.abort(new Error('run deployment: ended by SIGTERM')));

const folder = await tempFolder();
let passed = false;
try {
  await using registry = await startRegistry();
  for (let index = 0; index < IMAGES; index += 1)
    registry.push(index % 2 === 0 ? 'team/app' : 'team/tool', sharedImage(index), `v${index}`);
  await using localstack = await startLocalStack(venv, folder.path);
  const { PATH, HOME } = process.env;
  const env = { PATH, HOME, ...localstack.env, SLS_TELEMETRY_DISABLED: '1', SLS_NOTIFICATIONS_MODE: 'off' };

  const command = async (script: string, args: readonly string[]): Promise<string> => {
    const options = { cwd: ROOT, env, signal: stopped.signal, maxBuffer: 64 * 1024 * 1024 };
    const { stdout } = await promisify(execFile)(process.execPath, [script, ...args], options);
    return stdout;
  };
  const serverless = (...args: readonly string[]): Promise<string> => command(SERVERLESS, args);
  const mirrorSync = (...args: readonly string[]): Promise<string> => command(MAIN, args);
  const output = async (name: string): Promise<string> => {
    const [, value] = new RegExp(`^ *${name}: (.*)$`, 'm').exec(await serverless('info', '--verbose')) ?? [];
    assert.ok(value !== undefined, `the stack has the output ${name}`);
    return value;
  };
  const invoke = async (event: object, name = 'resolver'): Promise<unknown> =>
    JSON.parse(await serverless('invoke', '--function', name, '--data', JSON.stringify(event))) as unknown;
  /** Waits until the archive has as many tags. */
  const untilMirrored = async (archive: string, tags: number): Promise<void> => {
    for (let tries = 0; ; tries += 1) {
      const listed = await mirrorSync('ls', archive).catch(() => '');
      const found = listed.match(/sha256:/g)?.length ?? 0;
      if (found === tags) return;
      assert.ok(tries < 120, `${found} of ${tags} tags are mirrored after two minutes`);
      await sleep(1000, undefined, { signal: stopped.signal });
    }
  };
  say('LocalStack is up');

  const messages = await messagesOf(localstack.endpoint);
  const registryParams = ['--param', 'registry=on', '--param', 'registryAccess=public'];
  await serverless('deploy', '--param', `alarmTopic=${TOPIC}`, '--param', `runTopic=${TOPIC}`, ...registryParams);
  assert.equal(localstack.stackPolicies.length, 1, 'the stack policy is set');
  const archive = await output('Archive');
  assert.equal(await output('Config'), `${archive}config/mirror.yaml`);
  say(`deployed: the archive is ${archive}`);

  const s3 = new S3Client({
    endpoint: localstack.endpoint,
    forcePathStyle: true,
    region: 'eu-central-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  });
  const mirrors = ['team/app', 'team/tool'].map((path) => `  - { source: ${registry.host}/${path}, tags: all }\n`);
  const Bucket = new URL(archive).hostname;
  const Body = `version: 1\nmirrors:\n${mirrors.join('')}`;
  await s3.send(new PutObjectCommand({ Bucket, Key: 'config/mirror.yaml', Body }));
  s3.destroy();

  // Scheduler sends this; LocalStack's never does.
  const arn = 'arn:aws:scheduler:eu-central-1:000000000000:schedule/default/mirror-sync-prod';
  const started = await invoke({ schedule: { arn, time: '2026-01-31T00:00:00Z' } });
  assert.deepEqual(started, { run: '2026-01-31T00-00-00-000Z-mirror-sync-prod', messages: 2 });
  await untilMirrored(archive, IMAGES);
  await mirrorSync('verify', archive);
  say(`mirrored and verified ${IMAGES} tags`);

  // A schedule does this every five minutes. The reports of images are written after their references.
  const closeRuns = async (): Promise<boolean> => isDeepStrictEqual(await invoke({}, 'runs'), { closed: 1 });
  for (let tries = 0; !(await closeRuns()); tries += 1) assert.ok(tries < 10, 'the run is finished');
  const { by, outcome, counts } = JSON.parse(await messages((text) => text.includes('"outcome":'))) as RunSummary;
  assert.deepEqual(
    { by, outcome, counts },
    { by: 'schedule', outcome: 'finished', counts: { mirrored: IMAGES, unchanged: 0, failed: 0 } },
  );
  say('the summary of the run is a message to the topic');

  const { host } = new URL(await output('RegistryLambdaFunctionUrl'));
  const pull = (path: string): ReturnType<typeof getFrom> =>
    getFrom(localstack.endpoint, host, `/v2/${registry.host.replace(':', '_')}/team/app/${path}`);
  const { manifest, digest, blobs } = sharedImage(0);
  const pulled = await pull('manifests/v0');
  assert.equal(pulled.status, 200);
  assert.equal(pulled.headers['docker-content-digest'], digest);
  assert.ok(pulled.body.equals(manifest), 'the manifest has the bytes of upstream');
  const answers = await Promise.all([...blobs.keys()].map((blob) => pull(`blobs/${blob}`)));
  assert.deepEqual(
    new Set(answers.map(({ status }) => status)),
    new Set([200, 307]),
    'configs are sent, and layers redirected',
  );
  say('the function URL of the registry serves an image');

  await invoke({ references: [`${registry.host}/team/app:missing`] });
  const failure = await messages((text) => text.includes('team/app:missing'));
  assert.match(failure, /team\/app:missing failed \(manifest-unknown\): .+ - run request-/);
  say('a failed image is a message to the topic');

  const refuses = (parameter: string, expected: string): Promise<void> =>
    assert.rejects(serverless('deploy', '--param', parameter), (error: { stdout: string }) =>
      error.stdout.includes(expected),
    );
  await refuses(
    'bucket=registry-archive-of-example',
    `deploy archive: expected ${archive}, which mirror-sync-prod has, got s3://registry-archive-of-example/; `,
  );
  const secret = await output('CredentialsSecret');
  await refuses(
    `credentialsSecret=${secret}`,
    'deploy secrets: credentialsSecret is the secret that mirror-sync-prod has created ',
  );
  await refuses(
    `credentialsSecret=${secret.slice(0, -6)}abcdef`,
    `deploy secrets: mirror-sync-prod has CredentialsSecret, which this deployment would delete with the stored text (${secret}); `,
  );
  say('another bucket is refused, and the loss of the credentials');

  const key = await createKey(localstack.endpoint);
  const changed = {
    kmsKey: key,
    lanes: 8,
    layerMemory: 3008,
    ecrPull: 'on',
    webhooks: 'off',
    scheduleState: 'DISABLED',
  };
  const params = Object.entries(changed).flatMap(([name, value]) => ['--param', `${name}=${value}`]);
  await serverless('deploy', ...params);
  assert.equal(await output('Archive'), archive);
  await assert.rejects(output('RegistryLambdaFunctionUrl'), 'the registry is off, which is the default');
  say('deployed again: another configuration, a customer-managed key, no public URL');

  registry.push('team/app', sharedImage(IMAGES), `v${IMAGES}`);
  await invoke({ references: [`${registry.host}/team/app:v${IMAGES}`] });
  await untilMirrored(archive, IMAGES + 1);
  await mirrorSync('verify', archive);
  say('mirrored and verified one tag more');

  await serverless('remove');
  await assert.rejects(serverless('info'), 'the stack is gone');
  say('removed');
  passed = true;
} catch (error) {
  const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
  process.stdout.write(`${stdout}${stderr}\n`);
  throw error;
} finally {
  if (passed) await folder.remove();
  else say(`the logs are in ${folder.path}`);
}

/** GET of a function URL, whose host LocalStack reads in the header. */
async function getFrom(
  endpoint: string,
  host: string,
  path: string,
): Promise<{ readonly status: number | undefined; readonly headers: IncomingHttpHeaders; readonly body: Buffer }> {
  const [response] = (await once(get(`${endpoint}${path}`, { headers: { host } }), 'response')) as [IncomingMessage];
  return { status: response.statusCode, headers: response.headers, body: await buffer(response) };
}

/**
 * A request to a service for which no client is a dependency. LocalStack reads the service's name in the signature, and checks no
 * more of it.
 */
async function ask(
  endpoint: string,
  service: string,
  body: string,
  headers: Readonly<Record<string, string>>,
): Promise<string> {
  const credential = `test/20260131/eu-central-1/${service}/aws4_request`;
  const authorization = `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=host, Signature=0`;
  const answer = await fetch(endpoint, { method: 'POST', headers: { authorization, ...headers }, body });
  const text = await answer.text();
  assert.ok(answer.ok, `${service} answers ${text}`);
  return text;
}

async function createKey(endpoint: string): Promise<string> {
  const answer = await ask(endpoint, 'kms', '{}', {
    'content-type': 'application/x-amz-json-1.1',
    'x-amz-target': 'TrentService.CreateKey',
  });
  return (JSON.parse(answer) as { KeyMetadata: { Arn: string } }).KeyMetadata.Arn;
}

/** Creates the topic, with a queue that subscribes to it. @returns the next message that fits */
async function messagesOf(endpoint: string): Promise<(fits: (text: string) => boolean) => Promise<string>> {
  const sns = (parameters: Readonly<Record<string, string>>): Promise<string> =>
    ask(endpoint, 'sns', new URLSearchParams({ Version: '2010-03-31', ...parameters }).toString(), {
      'content-type': 'application/x-www-form-urlencoded',
    });
  const sqs = new SQSClient({
    endpoint,
    region: 'eu-central-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  });
  const { QueueUrl } = await sqs.send(new CreateQueueCommand({ QueueName: 'on-call' }));
  const Endpoint = 'arn:aws:sqs:eu-central-1:000000000000:on-call';
  await sns({ Action: 'CreateTopic', Name: 'on-call' });
  await sns({ Action: 'Subscribe', TopicArn: TOPIC, Protocol: 'sqs', Endpoint });
  return async (fits) => {
    for (let tries = 0; tries < 12; tries += 1) {
      const request = { QueueUrl, WaitTimeSeconds: 5, MaxNumberOfMessages: 10 };
      const { Messages = [] } = await sqs.send(new ReceiveMessageCommand(request), { abortSignal: stopped.signal });
      const texts = Messages.map(({ Body = '' }) => String((JSON.parse(Body) as { Message: unknown }).Message));
      const found = texts.find(fits);
      if (found !== undefined) return found;
    }
    throw new Error(`receive message of ${TOPIC}: none fits after a minute`);
  };
}
