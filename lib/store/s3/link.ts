/** URLs with a signature, from which a client without credentials reads one object. */
import { GetObjectCommand } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { Failure } from '../../core/failure.ts';
import type { Calls } from './calls.ts';
import { toFailure } from './failure.ts';

/** A client follows the link at once. S3 checks the time when a request begins, and not during the body. */
const LONGEST_SECONDS = 15 * 60;
/** A link that ends sooner could be useless when it reaches the client. */
const SHORTEST_SECONDS = 60;
/** The link expires before its credentials, because S3 reports expired credentials as a missing permission. */
const MARGIN_SECONDS = 10;

/**
 * A link to the object with the full key `key`. It works for GET only, with any range. The signature covers no header except
 * Host, because the headers of the client are unknown.
 *
 * @throws Failure `token-expired` if the credentials end too soon
 */
export async function linkTo(calls: Calls, key: string, contentType?: string): Promise<string> {
  const { bucket } = calls;
  try {
    const client = await calls.client();
    const expiresIn = secondsOf(await client.config.credentials(), `sign a URL of s3://${bucket}/${key}`);
    const command = new GetObjectCommand({ Bucket: bucket, Key: key, ResponseContentType: contentType });
    return await getSignedUrl(client, command, { expiresIn });
  } catch (error) {
    throw toFailure(error, { operation: 'GetObject', bucket, key });
  }
}

function secondsOf({ expiration }: { readonly expiration?: Date }, operation: string): number {
  if (expiration === undefined) return LONGEST_SECONDS;
  const left = Math.floor((expiration.getTime() - Date.now()) / 1_000) - MARGIN_SECONDS;
  if (left >= SHORTEST_SECONDS) return Math.min(left, LONGEST_SECONDS);
  throw new Failure({
    operation,
    side: 'archive',
    code: 'token-expired',
    detail: `the credentials end at ${expiration.toISOString()}; renew them`,
  });
}
