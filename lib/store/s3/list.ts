import { ListObjectsV2Command, type ListObjectsV2CommandOutput } from '@aws-sdk/client-s3';
import { type Calls, present } from './calls.ts';

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
  maxKeys?: number,
): AsyncGenerator<S3Object> {
  const pages = calls.pages(OPERATION, prefix, signal, (client, options, last?: ListObjectsV2CommandOutput) =>
    client.send(
      new ListObjectsV2Command({
        Bucket: calls.bucket,
        Prefix: prefix,
        MaxKeys: maxKeys,
        ContinuationToken: last && present(last.NextContinuationToken, OPERATION, 'NextContinuationToken'),
      }),
      options,
    ),
  );
  for await (const page of pages)
    for (const object of page.Contents ?? [])
      yield {
        key: present(object.Key, OPERATION, 'Key'),
        size: present(object.Size, OPERATION, 'Size'),
        modified: present(object.LastModified, OPERATION, 'LastModified'),
      };
}

/** Whether any full key starts with `prefix`. */
export async function hasObjects(calls: Calls, prefix: string, signal: AbortSignal | undefined): Promise<boolean> {
  const first = await listObjects(calls, prefix, signal, 1).next();
  return first.done !== true;
}
