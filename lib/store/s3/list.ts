import {
  ListObjectsV2Command,
  type ListObjectsV2CommandInput,
  type ListObjectsV2CommandOutput,
} from '@aws-sdk/client-s3';
import type { Calls } from './calls.ts';
import { present, wholePage } from './multipart.ts';

const OPERATION = 'ListObjectsV2';

export interface S3Object {
  /** The full key. */
  readonly key: string;
  readonly size: number;
  readonly modified: Date;
}

export async function* listObjects(
  calls: Calls,
  prefix: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<S3Object> {
  let token: string | undefined;
  do {
    const page = await pageOf(calls, prefix, { ContinuationToken: token }, signal);
    for (const object of page.Contents ?? [])
      yield {
        key: present(object.Key, OPERATION, 'Key'),
        size: present(object.Size, OPERATION, 'Size'),
        modified: present(object.LastModified, OPERATION, 'LastModified'),
      };
    token =
      page.IsTruncated === true ? present(page.NextContinuationToken, OPERATION, 'NextContinuationToken') : undefined;
  } while (token !== undefined);
}

/** Whether any full key starts with `prefix`. */
export async function hasObjects(calls: Calls, prefix: string, signal: AbortSignal | undefined): Promise<boolean> {
  const page = await pageOf(calls, prefix, { MaxKeys: 1 }, signal);
  return (page.Contents ?? []).length > 0;
}

function pageOf(
  calls: Calls,
  Prefix: string,
  options: Pick<ListObjectsV2CommandInput, 'ContinuationToken' | 'MaxKeys'>,
  signal: AbortSignal | undefined,
): Promise<ListObjectsV2CommandOutput> {
  return calls.run(OPERATION, Prefix, signal, async (client, call) =>
    wholePage(
      OPERATION,
      await client.send(new ListObjectsV2Command({ Bucket: calls.bucket, Prefix, ...options }), call),
    ),
  );
}
