import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type PutObjectCommandInput,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import { mockClient } from 'aws-sdk-client-mock';

export interface S3Mock {
  /** Objects by key, which a test may add. */
  readonly objects: Map<string, Uint8Array>;
  /** Every request, as `GetObject key`, with whether it can be aborted. */
  readonly requests: { readonly name: string; readonly isAbortable: boolean }[];
  /** Whether a request is answered with AccessDenied. */
  refuse: (name: string) => boolean;
  /** Whether a request gets no response. */
  ignore: (name: string) => boolean;
  restore: () => void;
}

/** A method that the SDK's type of `send` lacks. */
export type SendArguments = readonly [unknown, { readonly abortSignal?: AbortSignal }?];

/** Every S3 client of this process, over a map: GetObject, HeadObject, DeleteObject, lists, and PutObject with conditions. */
export function mockS3(): S3Mock {
  const client = mockClient(S3Client);
  const objects = new Map<string, Uint8Array>();
  const mock: S3Mock = {
    objects,
    requests: [],
    refuse: () => false,
    ignore: () => false,
    restore: () => client.restore(),
  };
  const etagOf = (bytes: Uint8Array): string => `"${createHash('md5').update(bytes).digest('hex')}"`;
  const found = (key: string): Uint8Array => {
    const bytes = objects.get(key);
    if (bytes === undefined) throw refusal('NoSuchKey', 404);
    return bytes;
  };
  const noted = async (name: string): Promise<void> => {
    const [, options] = client.send.lastCall.args as unknown as SendArguments;
    await Promise.resolve();
    mock.requests.push({ name, isAbortable: options?.abortSignal !== undefined });
    if (mock.ignore(name)) await Promise.withResolvers().promise;
    if (mock.refuse(name)) throw refusal('AccessDenied', 403);
  };
  client.on(GetObjectCommand).callsFake(async ({ Key }: { readonly Key: string }) => {
    await noted(`GetObject ${Key}`);
    const bytes = found(Key);
    return { Body: Readable.from([bytes]), ContentLength: bytes.byteLength, ETag: etagOf(bytes) };
  });
  client.on(HeadObjectCommand).callsFake(async ({ Key }: { readonly Key: string }) => {
    await noted(`HeadObject ${Key}`);
    return { ContentLength: found(Key).byteLength, ETag: etagOf(found(Key)) };
  });
  client.on(DeleteObjectCommand).callsFake(async ({ Key = '' }: { readonly Key?: string }) => {
    await noted(`DeleteObject ${Key}`);
    objects.delete(Key);
    return {};
  });
  client.on(ListObjectsV2Command).callsFake(async ({ Prefix = '' }: { readonly Prefix?: string }) => {
    await noted(`ListObjectsV2 ${Prefix}`);
    const keys = [...objects.keys()].filter((key) => key.startsWith(Prefix)).sort();
    return {
      Contents: keys.map((Key) => ({
        Key,
        Size: found(Key).byteLength,
        ETag: etagOf(found(Key)),
        LastModified: new Date(0),
      })),
      IsTruncated: false,
    };
  });
  client.on(ListMultipartUploadsCommand).callsFake(async ({ Prefix = '' }: { readonly Prefix?: string }) => {
    await noted(`ListMultipartUploads ${Prefix}`);
    return { IsTruncated: false };
  });
  client.on(PutObjectCommand).callsFake(async ({ Key = '', Body, IfMatch, IfNoneMatch }: PutObjectCommandInput) => {
    await noted(`PutObject ${Key}`);
    const there = objects.get(Key);
    const isRefused =
      (IfNoneMatch === '*' && there !== undefined) ||
      (IfMatch !== undefined && (there === undefined || etagOf(there) !== IfMatch));
    if (isRefused) throw refusal('PreconditionFailed', 412);
    objects.set(Key, Buffer.from(Body as Uint8Array));
    return { ETag: etagOf(Body as Uint8Array) };
  });
  return mock;
}

function refusal(name: string, status: number): S3ServiceException {
  const error = new S3ServiceException({
    name,
    message: name,
    $fault: 'client',
    $metadata: { httpStatusCode: status },
  });
  return Object.assign(error, { $response: { statusCode: status, headers: {} } });
}

/** An error as the SDK throws it for a response of S3. */
export function serviceException(
  name: string,
  status: number,
  headers: Record<string, string> = {},
): S3ServiceException {
  const error = new S3ServiceException({
    name,
    message: `${name}, says S3`,
    $fault: status >= 500 ? 'server' : 'client',
    $metadata: { httpStatusCode: status },
  });
  return Object.assign(error, { $response: { statusCode: status, headers } });
}
