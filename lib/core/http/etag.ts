import { type HeaderValue, listValue, singleValue } from './header.ts';

/** The entity tag of an `ETag` header if it is strong; only such a tag guarantees equal bytes (RFC 9110, section 8.8.1). */
export function strongEtag(header: HeaderValue): string | undefined {
  const etag = singleValue(header);
  return etag?.startsWith('"') === true ? etag : undefined;
}

/** Whether `If-None-Match` has the entity tag; the comparison is weak. */
export function hasEtag(header: HeaderValue, etag: string): boolean {
  return listValue(header)
    .split(',')
    .some((each) => ['*', etag].includes(each.trim().replace(/^W\//, '')));
}
