import { invalid } from '../../core/failure.ts';
import { show } from '../../oci/show.ts';

export interface S3Location {
  readonly bucket: string;
  /** The archive's root in the bucket: `''`, or `a/b` without slashes at the ends. */
  readonly prefix: string;
}

const SCHEME = 's3://';

/** Schemes are case-insensitive (RFC 3986, section 3.1): `S3://bucket` must not become a folder of that name. */
export function isS3Url(text: string): boolean {
  return text.slice(0, SCHEME.length).toLowerCase() === SCHEME;
}

/**
 * Parses `s3://bucket` or `s3://bucket/prefix`. The region, the profile and the endpoint belong to the SDK's configuration,
 * so that an archive has one name everywhere.
 *
 * @throws Failure `invalid`
 */
export function parseS3Url(text: string): S3Location {
  const refuse = (why: string): never => {
    throw invalid(`read the archive's URL ${show(text)}`, `${why}; use s3://bucket or s3://bucket/prefix`);
  };
  if (!isS3Url(text)) refuse(`the URL does not start with ${SCHEME}`);
  const [bucket = '', ...rest] = text.slice(SCHEME.length).split('/');
  const reason = whyNotBucket(bucket);
  if (reason !== undefined) refuse(reason);
  // A trailing slash is accepted.
  if (rest.at(-1) === '') rest.pop();
  for (const component of rest) {
    if (component === '' || component === '.' || component === '..')
      refuse(`the prefix has the component '${component}'`);
    if (/[?#]/.test(component)) refuse('the prefix has a ? or #; set options for the SDK in the environment (AWS_…)');
    if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\\]/u.test(component))
      refuse('the prefix has a control character, a format character or a backslash');
  }
  return { bucket, prefix: rest.join('/') };
}

/** The syntax rules of https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html. */
function whyNotBucket(bucket: string): string | undefined {
  if (bucket.length < 3 || bucket.length > 63)
    return `invalid bucket name: expected 3 to 63 characters, got ${bucket.length}`;
  if (!/^[a-z0-9][a-z0-9.-]*[a-z0-9]$/.test(bucket) || bucket.includes('..'))
    return 'invalid bucket name (expected lower-case letters, digits, dots and hyphens)';
  if (/^\d+\.\d+\.\d+\.\d+$/.test(bucket)) return 'invalid bucket name (an IP address)';
  return undefined;
}
