/**
 * The raw limit of S3: uploads random bytes, as large as the blobs of a mirror, through the archive's S3 client, with
 * its part size and concurrency. Nothing is hashed during the upload: all parts share one buffer, whose checksums are
 * computed first.
 *
 * Usage: upload.ts BUCKET PARTS_AT_ONCE SIZE…   (sizes in bytes; the endpoint comes from the environment)
 */
import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import {
  CompleteMultipartUploadCommand,
  type CompletedPart,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { partSizeFor, ranges } from '../../lib/store/parts.ts';
import { connect } from '../../lib/store/s3/client.ts';
import { Semaphore } from '../../lib/core/semaphore.ts';

const [Bucket = '', atOnce = '', ...sizes] = process.argv.slice(2);
const client = await connect({});
const permits = new Semaphore(Number(atOnce));
const random = randomBytes(partSizeFor(undefined));
const checksums = new Map<number, string>();

await Promise.all(sizes.map((size, index) => upload(`blob-${index}`, Number(size))));
client.destroy();

async function upload(Key: string, size: number): Promise<void> {
  const partSize = partSizeFor(size);
  if (size <= partSize) {
    const object = { Bucket, Key, Body: random.subarray(0, size), ChecksumCRC32: checksumOf(size) };
    await permits.with(() => client.send(new PutObjectCommand(object)));
    return;
  }
  const ChecksumAlgorithm = 'CRC32';
  const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key, ChecksumAlgorithm }));
  const Parts = await Promise.all(
    ranges(size, partSize).map(async ({ number: PartNumber, size: bytes }): Promise<CompletedPart> => {
      const part = { PartNumber, ChecksumCRC32: checksumOf(bytes) };
      const Body = random.subarray(0, bytes);
      const send = { Bucket, Key, UploadId, ...part, Body, ContentLength: bytes };
      const { ETag } = await permits.with(() => client.send(new UploadPartCommand(send)));
      return { ...part, ETag };
    }),
  );
  await client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }));
}

/** The checksum of the first bytes of the buffer. */
function checksumOf(bytes: number): string {
  const known = checksums.get(bytes);
  if (known !== undefined) return known;
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32BE(crc32(random.subarray(0, bytes)));
  const text = checksum.toString('base64');
  checksums.set(bytes, text);
  return text;
}
