/** Checks the addresses of archives, and refuses typos that would create a folder with a strange name. */
import { invalid } from '../core/failure.ts';
import { withoutSecrets } from '../core/secrets.ts';
import { isS3Url } from '../store/s3/url.ts';
import { show } from '../oci/show.ts';

/** @param slashes those between the scheme and the rest */
type Meant = (rest: string, slashes: string) => string;

/** The schemes and transports of other tools, and the suggestions for them. */
const MEANT: readonly (readonly [schemes: readonly string[], meant: Meant])[] = [
  [['s3', 's3a', 's3n'], (rest) => `write s3://${rest}`],
  [['arn'], (rest) => `write s3://${rest.replace(/^aws[\w-]*:s3:::/, '')}`],
  [['gs', 'gcs'], (rest) => `write s3://${rest} and set AWS_ENDPOINT_URL_S3=https://storage.googleapis.com`],
  [
    ['r2', 'b2', 'minio', 'oss', 'cos', 'az', 'azblob', 'wasb', 'wasbs', 'abfs', 'abfss'],
    () => 'write s3://bucket/prefix and set AWS_ENDPOINT_URL_S3 to the S3 endpoint of the store',
  ],
  [['http', 'https'], () => 'write s3://bucket/prefix and set AWS_ENDPOINT_URL_S3 to the URL of the store'],
  [
    ['oci', 'ocidir', 'oci-archive', 'dir', 'folder', 'docker-archive', 'file'],
    // An absolute path has one slash, or three after a scheme.
    (rest, { length }) =>
      `write the folder alone: ${length % 2 === 1 ? `/${rest}` : rest.startsWith('.') ? rest : `./${rest}`}`,
  ],
  [
    ['docker', 'docker-daemon', 'containers-storage', 'registry'],
    () => 'an archive is a folder or s3://bucket/prefix, and not a registry',
  ],
];

/**
 * The path of a folder may have a colon or start with `~` only after a slash. Otherwise `s3:bucket`, `oci:x` and a quoted `~/x`
 * would create a folder in the working directory.
 *
 * @throws Failure `invalid` with a suggestion
 */
export function checkAddress(address: string): void {
  if (isS3Url(address)) return;
  const name = withoutSecrets(address);
  const wrong = (detail: string): Error => invalid(`open archive ${show(name)}`, detail);
  if (name === '') throw wrong('the address is empty; name a folder or s3://bucket/prefix');
  if (name.startsWith('~'))
    throw wrong(`the shell does not replace a quoted ~; write $HOME, or ./${name} for a folder`);
  const [, word = '', slashes = '', rest = ''] = /^([^/:]+):(\/*)(.*)$/s.exec(name) ?? [];
  if (word === '') return;
  const scheme = word.trim().toLowerCase();
  const [, meant] = MEANT.find(([schemes]) => schemes.includes(scheme)) ?? [];
  const hint = meant?.(rest, slashes) ?? 'an archive is a folder or s3://bucket/prefix';
  throw wrong(`the address starts with ${show(`${word}:`)}; ${hint} (for a folder of this name, write ./${name})`);
}
