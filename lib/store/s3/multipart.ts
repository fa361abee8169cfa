import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import type { ListMultipartUploadsCommandOutput, ListPartsCommandOutput } from '@aws-sdk/client-s3';
import { Failure } from '../../core/failure.ts';
import type { Condition, Part, StoredObject } from '../store.ts';
import { type Calls, present, required } from './calls.ts';
import { headObject } from './read.ts';

/*
 * CRC32 detects bodies that were truncated or corrupted in transit; the digest proves the blob. Throughput of one core of
 * the bench machine: CRC32 (node:zlib, native) 6.1 GB/s, SHA-256 1.7 GB/s, MD5 0.8 GB/s, CRC64NVME (JavaScript) 0.4 GB/s.
 *
 * The type is COMPOSITE, S3's default for CRC32: completion repeats each part's checksum, so a Part contains it. With
 * FULL_OBJECT, S3 does not need them, but versitygw requires them and MinIO refuses the type.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
 *
 * If checksums are disabled, the signature covers each part instead (client.ts).
 */
const CHECKSUM = { ChecksumAlgorithm: 'CRC32' } as const;

interface ConditionHeaders {
  readonly IfNoneMatch?: string;
  readonly IfMatch?: string;
}

export function conditionHeaders(condition: Condition | undefined): ConditionHeaders {
  if (condition === undefined) return {};
  return 'etag' in condition ? { IfMatch: condition.etag } : { IfNoneMatch: '*' };
}

export interface S3Upload {
  /** The full key. */
  readonly key: string;
  readonly id: string;
}

export async function create(
  calls: Calls,
  key: string,
  contentType: string | undefined,
  signal: AbortSignal | undefined,
): Promise<string> {
  // A lost response leaves an empty upload, which the age limit or the bucket's lifecycle rule removes.
  const operation = 'CreateMultipartUpload';
  return calls.run(operation, key, signal, async (client, options) => {
    const answer = await client.send(
      new CreateMultipartUploadCommand({
        Bucket: calls.bucket,
        Key: key,
        ContentType: contentType,
        ...(calls.checksums ? CHECKSUM : {}),
      }),
      options,
    );
    return required(answer.UploadId, operation, 'UploadId');
  });
}

export async function uploadPart(
  calls: Calls,
  upload: S3Upload,
  number: number,
  bytes: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<Part> {
  const checksum = calls.checksums ? checksumOf(bytes) : undefined;
  const answer = await calls.run('UploadPart', upload.key, signal, (client, options) =>
    client.send(
      new UploadPartCommand({
        Bucket: calls.bucket,
        Key: upload.key,
        UploadId: upload.id,
        PartNumber: number,
        Body: bytes,
        ContentLength: bytes.byteLength,
        ChecksumCRC32: checksum,
      }),
      options,
    ),
  );
  return { number, size: bytes.byteLength, etag: present(answer.ETag, 'UploadPart', 'ETag'), checksum };
}

function checksumOf(bytes: Uint8Array): string {
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32BE(crc32(bytes));
  return checksum.toString('base64');
}

export async function* parts(calls: Calls, upload: S3Upload, signal: AbortSignal | undefined): AsyncGenerator<Part> {
  const operation = 'ListParts';
  const pages = calls.pages(operation, upload.key, signal, (client, options, last?: ListPartsCommandOutput) =>
    client.send(
      new ListPartsCommand({
        Bucket: calls.bucket,
        Key: upload.key,
        UploadId: upload.id,
        PartNumberMarker: last && present(last.NextPartNumberMarker, operation, 'NextPartNumberMarker'),
      }),
      options,
    ),
  );
  for await (const page of pages)
    for (const part of page.Parts ?? [])
      yield {
        number: present(part.PartNumber, operation, 'PartNumber'),
        size: present(part.Size, operation, 'Size'),
        etag: present(part.ETag, operation, 'ETag'),
        checksum: part.ChecksumCRC32,
      };
}

export async function* uploads(
  calls: Calls,
  prefix: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<S3Upload & { readonly initiated: Date }> {
  const operation = 'ListMultipartUploads';
  const pages = calls.pages(operation, prefix, signal, (client, options, last?: ListMultipartUploadsCommandOutput) =>
    client.send(
      new ListMultipartUploadsCommand({
        Bucket: calls.bucket,
        Prefix: prefix,
        // Several uploads may have the same key and span two pages, so both markers are needed.
        KeyMarker: last && present(last.NextKeyMarker, operation, 'NextKeyMarker'),
        UploadIdMarker: last && present(last.NextUploadIdMarker, operation, 'NextUploadIdMarker'),
      }),
      options,
    ),
  );
  for await (const page of pages)
    for (const upload of page.Uploads ?? [])
      yield {
        key: present(upload.Key, operation, 'Key'),
        id: present(upload.UploadId, operation, 'UploadId'),
        initiated: present(upload.Initiated, operation, 'Initiated'),
      };
}

/**
 * Completes an upload. If the response of a successful try was lost, the next one fails with NoSuchUpload, or because the
 * condition `absent` no longer holds. The upload has succeeded if the object has the ETag of these parts.
 */
export async function complete(
  calls: Calls,
  upload: S3Upload,
  list: readonly Part[],
  condition: ConditionHeaders,
  signal: AbortSignal | undefined,
): Promise<StoredObject> {
  const size = list.reduce((sum, part) => sum + part.size, 0);
  try {
    const answer = await calls.run('CompleteMultipartUpload', upload.key, signal, (client, options) =>
      client.send(
        new CompleteMultipartUploadCommand({
          Bucket: calls.bucket,
          Key: upload.key,
          UploadId: upload.id,
          MultipartUpload: {
            Parts: list.map((part) => ({ PartNumber: part.number, ETag: part.etag, ChecksumCRC32: part.checksum })),
          },
          // S3 refuses parts with another total size.
          MpuObjectSize: size,
          ...condition,
        }),
        options,
      ),
    );
    return { etag: present(answer.ETag, 'CompleteMultipartUpload', 'ETag'), size };
  } catch (error) {
    const lost = error instanceof Failure && (error.code === 'no-such-upload' || error.code === 'precondition-failed');
    const found = lost ? await headObject(calls, upload.key, signal) : undefined;
    if (found?.ETag === undefined || bare(found.ETag) !== etagOf(list) || found.ContentLength !== size) throw error;
    return { etag: found.ETag, size };
  }
}

/** S3's ETag of a multipart object: the MD5 of its parts' MD5s (their ETags), and the number of parts. */
function etagOf(list: readonly Part[]): string {
  const md5 = createHash('md5');
  for (const part of list) md5.update(Buffer.from(bare(part.etag), 'hex'));
  return `${md5.digest('hex')}-${list.length}`;
}

const bare = (etag: string): string => etag.replaceAll('"', '');

export async function abort(calls: Calls, upload: S3Upload, signal: AbortSignal | undefined): Promise<void> {
  try {
    await calls.run('AbortMultipartUpload', upload.key, signal, (client, options) =>
      client.send(
        new AbortMultipartUploadCommand({ Bucket: calls.bucket, Key: upload.key, UploadId: upload.id }),
        options,
      ),
    );
  } catch (error) {
    if (error instanceof Failure && error.code === 'no-such-upload') return;
    throw error;
  }
}
