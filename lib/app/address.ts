/** Checks the addresses of archives, and refuses typos that would create a folder with a strange name. */
import { invalid } from '../core/failure.ts';
import { isS3Url } from '../store/s3/url.ts';
import { show } from '../oci/show.ts';

/** The schemes and transports of other tools, and the suggestions for them; `rest` follows the scheme, without slashes. */
const MEANT: ReadonlyMap<string, (rest: string) => string> = new Map([
  ...['s3', 's3a', 's3n'].map((scheme) => [scheme, (rest: string) => `write s3://${rest}`] as const),
  ['arn', (rest) => `write s3://${rest.replace(/^aws[\w-]*:s3:::/, '')}`],
  ...['gs', 'gcs'].map(
    (scheme) =>
      [
        scheme,
        (rest: string) => `write s3://${rest} and set AWS_ENDPOINT_URL_S3=https://storage.googleapis.com`,
      ] as const,
  ),
  ...['r2', 'b2', 'minio', 'oss', 'cos', 'az', 'azblob', 'wasb', 'wasbs', 'abfs', 'abfss'].map(
    (scheme) =>
      [scheme, () => 'write s3://bucket/prefix and set AWS_ENDPOINT_URL_S3 to the S3 endpoint of the store'] as const,
  ),
  ...['http', 'https'].map(
    (scheme) => [scheme, () => 'write s3://bucket/prefix and set AWS_ENDPOINT_URL_S3 to the URL of the store'] as const,
  ),
  ...['oci', 'ocidir', 'oci-archive', 'dir', 'folder', 'docker-archive'].map(
    (scheme) =>
      [scheme, (rest: string) => `write the folder alone: ${rest.startsWith('.') ? rest : `./${rest}`}`] as const,
  ),
  ['file', (rest) => `write the folder alone: /${rest}`],
  ...['docker', 'docker-daemon', 'containers-storage', 'registry'].map(
    (scheme) => [scheme, () => 'an archive is a folder or s3://bucket/prefix, and not a registry'] as const,
  ),
]);

/**
 * The path of a folder may have a colon or start with `~` only after a slash. Otherwise `s3:bucket`, `oci:x` and a quoted `~/x`
 * would create a folder in the working directory.
 *
 * @throws Failure `invalid` with a suggestion
 */
export function checkAddress(name: string): void {
  if (isS3Url(name)) return;
  const wrong = (detail: string): Error => invalid(`open archive ${show(name)}`, detail);
  if (name === '') throw wrong('the address is empty; name a folder or s3://bucket/prefix');
  if (name.startsWith('~'))
    throw wrong(`the shell does not replace a quoted ~; write $HOME, or ./${name} for a folder`);
  const [, word = '', rest = ''] = /^([^/:]+):\/*(.*)$/s.exec(name) ?? [];
  if (word === '') return;
  const meant = MEANT.get(word.trim().toLowerCase())?.(rest) ?? 'an archive is a folder or s3://bucket/prefix';
  throw wrong(`the address starts with ${show(`${word}:`)}; ${meant} (for a folder of this name, write ./${name})`);
}
