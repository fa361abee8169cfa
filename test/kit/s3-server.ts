/**
 * A real S3 server for tests: versitygw on its posix backend, in its own folder and on its own port, or the server of
 * MIRROR_SYNC_TEST_S3_ENDPOINT (with MIRROR_SYNC_TEST_S3_ACCESS_KEY and …_SECRET_KEY, and a region if it needs one).
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { access, mkdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import {
  AbortMultipartUploadCommand,
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  ListBucketsCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  S3Client,
} from '@aws-sdk/client-s3';
import { S3Store, type S3StoreOptions } from '../../lib/store/s3/store.ts';
import { tempFolder } from './temp.ts';

export interface S3Server extends AsyncDisposable {
  readonly endpoint: string;
  readonly region: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** The environment with which the SDK of a child process reaches this server. */
  readonly env: Readonly<Record<string, string>>;
  /** Creates an empty bucket with a new name, which `close` deletes with its content. */
  bucket(): Promise<string>;
  /** A store in a bucket of its own (or in the given one), closed by `close`. */
  store(options?: Partial<S3StoreOptions>): Promise<S3Store>;
  close(): Promise<void>;
}

/** The reason why the server did not start; skipped tests report it. */
export interface NoS3Server {
  readonly skipped: string;
}

const BINARY = 'versitygw';

/**
 * The server, or the reason for its absence. Until it is closed, this process's environment has no AWS_ variable of
 * the tester.
 */
export async function startS3Server(): Promise<S3Server | NoS3Server> {
  const { env } = process;
  const endpoint = env['MIRROR_SYNC_TEST_S3_ENDPOINT'];
  const region = env['MIRROR_SYNC_TEST_S3_REGION'] ?? 'us-east-1';
  if (endpoint !== undefined) {
    const accessKeyId = env['MIRROR_SYNC_TEST_S3_ACCESS_KEY'];
    const secretAccessKey = env['MIRROR_SYNC_TEST_S3_SECRET_KEY'];
    if (accessKeyId === undefined || secretAccessKey === undefined)
      return { skipped: 'MIRROR_SYNC_TEST_S3_ENDPOINT is set, but not …_ACCESS_KEY and …_SECRET_KEY' };
    return serve({ endpoint, region, credentials: { accessKeyId, secretAccessKey } }, () => Promise.resolve());
  }
  const binary = await findBinary();
  if (binary === undefined)
    return {
      skipped: `${BINARY} is neither on the PATH nor in Go's bin folder, and MIRROR_SYNC_TEST_S3_ENDPOINT is not set`,
    };
  return startGateway(binary, region);
}

/** Where the shell or `go install` would place it. */
async function findBinary(): Promise<string | undefined> {
  const { PATH = '', GOBIN, GOPATH } = process.env;
  const folders = [
    ...PATH.split(delimiter),
    ...(GOBIN === undefined ? [] : [GOBIN]),
    ...(GOPATH === undefined ? [] : GOPATH.split(delimiter).map((path) => join(path, 'bin'))),
    join(homedir(), 'go', 'bin'),
  ];
  for (const folder of folders.filter((path) => path !== '')) {
    const path = join(folder, BINARY);
    if (
      await access(path, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return path;
  }
  return undefined;
}

async function startGateway(binary: string, region: string): Promise<S3Server | NoS3Server> {
  const folder = await tempFolder();
  const root = folder.join('data');
  await mkdir(root);
  const credentials = { accessKeyId: 'mirror-sync', secretAccessKey: randomUUID() };
  const port = await freePort();
  const address = `127.0.0.1:${port}`;
  // The server closes each connection after one request by default; S3 does not.
  const options = ['--port', address, '--region', region, '--keep-alive', '--quiet'];
  const child = spawn(binary, [...options, 'posix', root], {
    cwd: folder.path,
    env: { ROOT_ACCESS_KEY: credentials.accessKeyId, ROOT_SECRET_KEY: credentials.secretAccessKey },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2000);
  });
  const stop = async (): Promise<void> => {
    await end(child);
    await folder.remove();
  };
  const server = serve({ endpoint: `http://${address}`, region, credentials }, stop);
  const reason = await untilReady(server, child);
  if (reason === undefined) return server;
  await server.close();
  return { skipped: `${binary} did not start: ${said.trim() || reason}` };
}

/** Polls with a real request. Returns the reason if the process ends, or if 10 s pass without a response. */
async function untilReady(server: S3Server, child: ChildProcess): Promise<string | undefined> {
  const client = new S3Client({ ...server, forcePathStyle: true, maxAttempts: 1 });
  try {
    let reason = 'no answer';
    for (let tries = 0; tries < 200; tries += 1) {
      if (child.exitCode !== null || child.pid === undefined) return `it ended with ${child.exitCode}`;
      try {
        await client.send(new ListBucketsCommand({}));
        return undefined;
      } catch (error) {
        reason = String(error);
      }
      await wait(50);
    }
    return reason;
  } finally {
    client.destroy();
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

type Address = Pick<S3Server, 'endpoint' | 'region' | 'credentials'>;

function serve(address: Address, stop: () => Promise<void>): S3Server {
  const restore = withoutAwsVariables();
  const client = new S3Client({ ...address, forcePathStyle: true });
  const buckets: string[] = [];
  const stores: S3Store[] = [];
  const server: S3Server = {
    ...address,
    env: {
      AWS_ACCESS_KEY_ID: address.credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: address.credentials.secretAccessKey,
      AWS_REGION: address.region,
      AWS_ENDPOINT_URL_S3: address.endpoint,
      ...NO_AWS_FILES,
    },
    async bucket() {
      const name = `mirror-sync-${randomUUID()}`;
      await client.send(new CreateBucketCommand({ Bucket: name }));
      buckets.push(name);
      return name;
    },
    async store(options = {}) {
      const bucket = options.bucket ?? (await server.bucket());
      const store = new S3Store({ prefix: 'archive', ...address, ...options, bucket });
      stores.push(store);
      return store;
    },
    async close() {
      await Promise.all(stores.map((store) => store.close()));
      try {
        // Our own server is removed with its folder.
        if (process.env['MIRROR_SYNC_TEST_S3_ENDPOINT'] !== undefined)
          for (const bucket of buckets) await removeBucket(client, bucket);
      } finally {
        client.destroy();
        restore();
        await stop();
      }
    },
    [Symbol.asyncDispose]: () => server.close(),
  };
  return server;
}

async function removeBucket(client: S3Client, Bucket: string): Promise<void> {
  for (;;) {
    const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket }));
    for (const { Key, UploadId } of Uploads)
      await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }));
    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket }));
    for (const { Key } of Contents) await client.send(new DeleteObjectCommand({ Bucket, Key }));
    if (Uploads.length === 0 && Contents.length === 0) break;
  }
  await client.send(new DeleteBucketCommand({ Bucket }));
}

/** The SDK reads its files even if the environment does not name them. */
const NO_AWS_FILES = { AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null' };

/** Removes the tester's AWS_ variables from this process's environment; the returned function restores them. */
export function withoutAwsVariables(): () => void {
  const before = Object.entries(process.env).filter(([name]) => name.startsWith('AWS_'));
  const clear = (): void => {
    for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) Reflect.deleteProperty(process.env, name);
  };
  clear();
  Object.assign(process.env, NO_AWS_FILES);
  return () => {
    clear();
    Object.assign(process.env, Object.fromEntries(before));
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
