/** AWS on this machine: LocalStack without Docker, in a process group of its own, on a free port. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';

const BOOTSTRAP = join(import.meta.dirname, '../kit/lambda/bootstrap.js');

export interface LocalStack extends AsyncDisposable {
  readonly endpoint: string;
  /** Environment of everything that is to reach it. */
  readonly env: Readonly<Record<string, string>>;
  /** Path of its log. */
  readonly log: string;
  /** The stack policies that were set. */
  readonly stackPolicies: readonly unknown[];
}

/**
 * @param venv the Python environment that .ci/run makes
 * @param folder an empty folder for its state and logs
 */
export async function startLocalStack(venv: string, folder: string): Promise<LocalStack> {
  await using stack = new AsyncDisposableStack();
  const port = await freePort();
  const host = `localhost:${port}`;
  const log = join(folder, 'localstack.log');
  const output = createWriteStream(log);
  await once(output, 'open');
  const child = spawn(join(venv, 'bin/python'), ['-m', 'localstack.runtime.main'], {
    cwd: folder,
    // The sandboxes are its children, and are ended with it.
    detached: true,
    stdio: ['ignore', output, output],
    env: {
      PATH: `${join(venv, 'bin')}:${process.env['PATH'] ?? ''}`,
      HOME: folder,
      TMPDIR: folder,
      FILESYSTEM_ROOT: join(folder, 'state'),
      OVERRIDE_IN_DOCKER: '0',
      GATEWAY_LISTEN: `127.0.0.1:${port}`,
      // A name, since the URLs of queues with an address in the host part are not valid.
      LOCALSTACK_HOST: host,
      SQS_ENDPOINT_STRATEGY: 'path',
      LAMBDA_RUNTIME_EXECUTOR: 'node',
      LAMBDA_KEEPALIVE_MS: '600000',
      NODE_EXECUTOR_NODE: process.execPath,
      NODE_EXECUTOR_BOOTSTRAP: BOOTSTRAP,
      // It knows no dashboards and no saved queries.
      CFN_IGNORE_UNSUPPORTED_RESOURCE_TYPES: '1',
      // No request to the internet, no DNS server.
      DISABLE_EVENTS: '1',
      SKIP_SSL_CERT_DOWNLOAD: '1',
      DNS_ADDRESS: '0',
    },
  });
  stack.defer(() => end(child));
  const endpoint = `http://127.0.0.1:${port}`;
  const stackPolicies: unknown[] = [];
  const gaps = await startGaps(endpoint, stackPolicies);
  stack.defer(() => close(gaps));
  const filled = `http://127.0.0.1:${(gaps.address() as AddressInfo).port}`;
  await untilUp(child, `${endpoint}/_localstack/health`, log);
  const kept = stack.move();
  return {
    endpoint,
    log,
    stackPolicies,
    env: {
      AWS_ENDPOINT_URL: endpoint,
      AWS_ENDPOINT_URL_ECR: filled,
      AWS_ENDPOINT_URL_CLOUDFORMATION: filled,
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
      AWS_REGION: 'eu-central-1',
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** A port that was free a moment ago: LocalStack takes no port 0. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/**
 * ECR and CloudFormation as far as LocalStack lacks them; everything else goes on to it. osls asks ECR for a repository when it
 * removes a stack, and gets a 404. It also sets a stack policy, which LocalStack ignores.
 */
async function startGaps(endpoint: string, policies: unknown[]): Promise<Server> {
  const server = createHttpServer((request, response) => {
    answer(request, response, endpoint, policies).catch((error: unknown) => response.destroy(error as Error));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

const POLICY_IS_SET =
  '<SetStackPolicyResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"></SetStackPolicyResponse>';

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  endpoint: string,
  policies: unknown[],
): Promise<void> {
  const body = await text(request);
  const form = new URLSearchParams(body);
  if (request.headers['x-amz-target'] !== undefined) {
    const none = JSON.stringify({ __type: 'RepositoryNotFoundException', message: 'none' });
    response.writeHead(400, { 'content-type': 'application/x-amz-json-1.1' }).end(none);
  } else if (form.get('Action') === 'SetStackPolicy') {
    policies.push(JSON.parse(form.get('StackPolicyBody') ?? ''));
    response.writeHead(200, { 'content-type': 'text/xml' }).end(POLICY_IS_SET);
  } else {
    const { authorization = '', 'content-type': type = '' } = request.headers;
    const headers = { authorization, 'content-type': type };
    const { status, ...answered } = await fetchText(`${endpoint}${request.url ?? ''}`, {
      method: 'POST',
      headers,
      body,
    });
    response.writeHead(status, { 'content-type': answered.type }).end(answered.text);
  }
}

async function fetchText(url: string, init: RequestInit): Promise<{ status: number; type: string; text: string }> {
  const answered = await fetch(url, init);
  return {
    status: answered.status,
    type: answered.headers.get('content-type') ?? 'text/xml',
    text: await answered.text(),
  };
}

async function close(server: Server): Promise<void> {
  server.close();
  server.closeAllConnections();
  await once(server, 'close');
}

async function untilUp(child: ChildProcess, health: string, log: string): Promise<void> {
  for (let tries = 0; tries < 240; tries += 1) {
    if (child.exitCode !== null) break;
    const answer = await fetch(health).catch(() => undefined);
    if (answer?.ok === true) return;
    await sleep(500);
  }
  throw new Error(`start LocalStack: it does not answer; its log is ${log}`);
}

/** Ends the whole group, at once where it does not end by itself. */
async function end(child: ChildProcess): Promise<void> {
  const signal = (name: NodeJS.Signals): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, name);
    } catch {
      // The group has ended.
    }
  };
  const exited = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : Promise.resolve();
  signal('SIGTERM');
  await Promise.race([exited, sleep(5000, undefined, { ref: false })]);
  signal('SIGKILL');
  await exited;
}
