import { invalid } from '../../core/failure.ts';
import { show } from '../../oci/show.ts';

export interface S3Location {
  readonly bucket: string;
  /** Where the archive's root is within the bucket: `''`, or `a/b` without slashes at its ends. */
  readonly prefix: string;
}

const SCHEME = 's3://';

/** Schemes are case-insensitive (RFC 3986, section 3.1): `S3://bucket` must not become a folder of that name. */
export function isS3Url(text: string): boolean {
  return text.slice(0, SCHEME.length).toLowerCase() === SCHEME;
}

/**
 * `s3://bucket` or `s3://bucket/prefix`. How the bucket is reached (region, profile, endpoint) is the SDK's own
 * configuration and no part of the name, so that an archive has one name wherever it is looked at from.
 *
 * @throws Failure `invalid`
 */
export function parseS3Url(text: string): S3Location {
  const refuse = (why: string): never => {
    throw invalid(`read the archive's address ${show(text)}`, `${why}; it is s3://bucket or s3://bucket/prefix`);
  };
  if (!isS3Url(text)) refuse(`it does not start with ${SCHEME}`);
  const [bucket = '', ...rest] = text.slice(SCHEME.length).split('/');
  const reason = whyNotBucket(bucket);
  if (reason !== undefined) refuse(reason);
  // One slash at the end is how folders are often written.
  if (rest.at(-1) === '') rest.pop();
  for (const component of rest) {
    if (component === '' || component === '.' || component === '..')
      refuse(`the prefix has the component '${component}'`);
    if (/[?#]/.test(component)) refuse('it has a ? or #: options are not given in the address but to the SDK (AWS_…)');
    if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\\]/u.test(component))
      refuse('the prefix has a control character, a format character or a backslash');
  }
  return { bucket, prefix: rest.join('/') };
}

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, as far as the form decides. */
function whyNotBucket(bucket: string): string | undefined {
  if (bucket.length < 3 || bucket.length > 63) return `a bucket's name has 3 to 63 characters, not ${bucket.length}`;
  if (!/^[a-z0-9][a-z0-9.-]*[a-z0-9]$/.test(bucket) || bucket.includes('..'))
    return `${show(bucket)} is not a bucket's name (lower-case letters, digits, dots and hyphens)`;
  if (/^\d+\.\d+\.\d+\.\d+$/.test(bucket)) return `${show(bucket)} is an address and not a bucket's name`;
  return undefined;
}
