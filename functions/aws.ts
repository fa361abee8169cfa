/** The clients and settings that the functions share, created once per sandbox. */
import { join } from 'node:path';
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { SQSClient } from '@aws-sdk/client-sqs';
import { SMALL_REQUESTS } from '../lib/app/aws-requests.ts';
import { Failure, invalid } from '../lib/core/failure.ts';
import { inputFile } from '../lib/core/input-file.ts';
import { Archive } from '../lib/archive/archive.ts';
import { ociLayout } from '../lib/archive/oci-layout.ts';
import { checksumsFrom } from '../lib/store/s3/checksums.ts';
import { connect } from '../lib/store/s3/client.ts';
import { S3Store } from '../lib/store/s3/store.ts';
import { parseS3Url } from '../lib/store/s3/url.ts';
import { MAX_CONFIG_BYTES, parseConfig } from '../lib/config/config.ts';
import type { Config } from '../lib/config/mirrors.ts';
import type { ConfigLocation } from '../lib/config/environment.ts';
import { SqsQueues, type SqsOptions } from '../lib/queue/sqs/sqs.ts';
import { kept, MissingConfiguration } from './kept.ts';
import { onRefused } from './telemetry.ts';

/**
 * One client per sandbox, for the archive and the configuration. A connection that is silent is replaced before the timeout of the
 * function.
 */
const s3 = once(() => connect({ connectionTimeoutMs: 3_000, silenceMs: 20_000 }));

/** @param keptEntries entries of parsed tag indexes that are kept in memory */
export function openArchive(url: string, keptEntries?: number): Archive {
  const store = new S3Store({ ...parseS3Url(url), client: s3, checksums: checksumsFrom(process.env) });
  return new Archive(store, ociLayout, keptEntries);
}

export function openQueues(urls: SqsOptions['urls']): SqsQueues {
  return new SqsQueues({ client: sqs(), urls });
}

/** One client per sandbox. Its own retries are off, because `SqsQueues` retries. */
const sqs = once(() => new SQSClient({ ...SMALL_REQUESTS, maxAttempts: 1 }));

export type ReadConfig = () => Promise<Config>;

/** `mirror.yaml` from the archive's bucket or the bundle's folder; the last valid one while a new one is invalid. */
export function configFrom(location: ConfigLocation): ReadConfig {
  return keptFile(location, parseConfig);
}

export function keptFile<T>(
  location: ConfigLocation,
  parse: (text: string, name: string) => T | Promise<T>,
): () => Promise<T> {
  return kept({
    operation: `read configuration ${nameOf(location)}`,
    read: (signal) => configText(location, signal),
    parse: (text) => parse(text, nameOf(location)),
    onRefused,
  });
}

async function configText(location: ConfigLocation, signal: AbortSignal): Promise<string> {
  if (location.kind === 'file') {
    const path = join(process.env['LAMBDA_TASK_ROOT'] ?? process.cwd(), location.path);
    return (await inputFile(`read configuration ${location.path}`, path, { signal })).toString('utf8');
  }
  const { bucket, key } = location;
  const store = new S3Store({ bucket, prefix: '', client: s3 });
  const found = await store.get(key, { maxBytes: MAX_CONFIG_BYTES, signal });
  if (found !== undefined) return Buffer.from(found.bytes).toString('utf8');
  const detail = `${nameOf(location)} does not exist; upload it (docs/configuration.md describes it)`;
  throw new MissingConfiguration({ operation: 'read configuration', side: 'input', code: 'invalid', detail });
}

function nameOf(location: ConfigLocation): string {
  return location.kind === 'file' ? location.path : `s3://${location.bucket}/${location.key}`;
}

/** A secret, which is read again after one minute; the last valid one while a new one is invalid. */
export function secretFrom<T>(arn: string, parse: (text: string) => T): () => Promise<T> {
  const client = new SecretsManagerClient(SMALL_REQUESTS);
  return kept({
    operation: `read secret ${arn}`,
    read: async (abortSignal) => {
      const { SecretString } = await client
        .send(new GetSecretValueCommand({ SecretId: arn }), { abortSignal })
        .catch((error: unknown) => {
          throw secretFailure(arn, error);
        });
      if (SecretString === undefined) throw invalid('read secret', `${arn} has no SecretString; set one`);
      return SecretString;
    },
    parse,
    onRefused,
  });
}

function secretFailure(arn: string, error: unknown): Failure {
  const { name, message } = error as Error;
  const operation = `read secret ${arn}`;
  // A retry does not help: the secret, a permission or the key is missing, or the secret is marked for deletion.
  if (/^(ResourceNotFound|AccessDenied|DecryptionFailure|InvalidRequest|InvalidParameter)/.test(name))
    return invalid(operation, `${name}: ${message}`);
  return new Failure({ operation, side: 'archive', code: 'unavailable', detail: `${name}: ${message}`, cause: error });
}

/** Creates a value on first use. */
export function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}
