/** The identity of the person or role that runs a command, for the record of a decision. */
import { hostname, userInfo } from 'node:os';
import { asFailure } from '../core/failure.ts';
import { isS3Url } from '../store/s3/url.ts';
import { SMALL_REQUESTS } from './aws-requests.ts';
import type { Host } from './host.ts';

/**
 * For an archive in AWS, the ARN of the principal (STS GetCallerIdentity, which needs no permission). Other S3 servers know access
 * keys only. For a folder, the name of the user and the machine.
 *
 * @throws Failure if AWS does not answer: a decision without an author is not recorded
 */
export async function callerOf(archive: string, env: Host['env']): Promise<string> {
  if (!isS3Url(archive)) return `${userInfo().username}@${hostname()}`;
  const isElsewhere = [env['AWS_ENDPOINT_URL_S3'], env['AWS_ENDPOINT_URL']].some((url) => (url ?? '') !== '');
  const { STSClient, GetCallerIdentityCommand } = await import('@aws-sdk/client-sts');
  const client = new STSClient({
    region: env['AWS_REGION'] ?? env['AWS_DEFAULT_REGION'] ?? 'us-east-1',
    ...SMALL_REQUESTS,
  });
  try {
    if (isElsewhere && (env['AWS_ENDPOINT_URL_STS'] ?? '') === '')
      return `access key ${(await client.config.credentials()).accessKeyId}`;
    const { Arn } = await client.send(new GetCallerIdentityCommand({}));
    return Arn ?? 'an unnamed AWS principal';
  } catch (error) {
    throw asFailure(error, 'find out who decides (STS GetCallerIdentity)', 'archive');
  } finally {
    client.destroy();
  }
}
