/** What every function makes of its environment, once a sandbox. It only wires. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { SQSClient } from '@aws-sdk/client-sqs';
import { invalid } from '../lib/base/failure.ts';
import { Archive } from '../lib/archive/archive.ts';
import { ociLayout } from '../lib/archive/oci-layout.ts';
import { connect } from '../lib/archive/s3/client.ts';
import { openS3Store } from '../lib/archive/s3/store.ts';
import { parseS3Url } from '../lib/archive/s3/url.ts';
import { type Config, MAX_CONFIG_BYTES, parseConfig } from '../lib/config/config.ts';
import type { ConfigLocation } from '../lib/config/environment.ts';
import { SqsQueues, type SqsOptions } from '../lib/queue/sqs.ts';

/** How long a configuration or a secret is believed before it is read again, in milliseconds. */
const KEPT_MS = 60_000;

/** One client a sandbox: the archive, and the configuration that lies beside it, come over the same connections. */
const s3 = once(() => connect({}));

export function openArchive(url: string): Archive {
  return new Archive(openS3Store({ ...parseS3Url(url), client: s3 }), ociLayout);
}

export function openQueues(urls: SqsOptions['urls']): SqsQueues {
  return new SqsQueues({ client: sqs(), urls });
}

/** One client a sandbox. It is told not to retry: `SqsQueues` does, with what this software knows of failures. */
const sqs = once(() => new SQSClient({ maxAttempts: 1 }));

export type ReadConfig = () => Promise<Config>;

/** `mirror.yaml`, from the archive's bucket or from beside the bundle; read again after a minute. */
export function configFrom(location: ConfigLocation): ReadConfig {
  return kept(async () => parseConfig(await configText(location), nameOf(location)));
}

async function configText(location: ConfigLocation): Promise<string> {
  if (location.kind === 'file') {
    const path = join(process.env['LAMBDA_TASK_ROOT'] ?? process.cwd(), location.path);
    return readFile(path, 'utf8');
  }
  const { bucket, key } = location;
  const found = await openS3Store({ bucket, prefix: '', client: s3 }).get(key, { maxBytes: MAX_CONFIG_BYTES });
  if (found !== undefined) return Buffer.from(found.bytes).toString('utf8');
  throw invalid(
    'read configuration',
    `there is no ${nameOf(location)}; upload one (docs/configuration.md says what may stand in it)`,
  );
}

function nameOf(location: ConfigLocation): string {
  return location.kind === 'file' ? location.path : `s3://${location.bucket}/${location.key}`;
}

/** A secret's text, read again after a minute, so that a rotated one is used soon. */
export function secretFrom(arn: string): () => Promise<string> {
  const client = new SecretsManagerClient({});
  return kept(async () => {
    const { SecretString } = await client.send(new GetSecretValueCommand({ SecretId: arn }));
    if (SecretString === undefined) throw invalid('read secret', `${arn} holds no text`);
    return SecretString;
  });
}

/** Makes a value when it is first asked for. */
export function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

/** Keeps what was read for a while; a failure to read is not kept. */
function kept<T>(read: () => Promise<T>): () => Promise<T> {
  let last: { readonly value: Promise<T>; readonly until: number } | undefined;
  return () => {
    const now = Date.now();
    if (last === undefined || now >= last.until) {
      const value = read();
      last = { value, until: now + KEPT_MS };
      value.catch(() => (last = undefined));
    }
    return last.value;
  };
}
