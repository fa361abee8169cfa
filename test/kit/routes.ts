import type { RequestKind } from './misbehave.ts';

/** The subject of a path of the distribution API. */
export interface Target {
  readonly kind: RequestKind;
  readonly repository?: string;
  readonly digest?: string;
  readonly tag?: string;
}

export interface Repository {
  readonly manifests: Map<
    string,
    { readonly bytes: Buffer; readonly mediaType: string; readonly document: ManifestDocument }
  >;
  /** Tag to digest. */
  readonly tags: Map<string, string>;
}

/** The fields of a manifest that the referrers API reads. */
export interface ManifestDocument {
  readonly subject?: { readonly digest?: string };
  readonly artifactType?: string;
  readonly config?: { readonly mediaType?: string };
  readonly annotations?: Record<string, string>;
}

export function route(pathname: string): Target {
  if (pathname === '/token') return { kind: 'token' };
  if (pathname === '/v2/' || pathname === '/v2') return { kind: 'ping' };
  const [, repository, kind, name] = /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/([^/]+)$/.exec(pathname) ?? [];
  if (repository === undefined || name === undefined) return { kind: 'other' };
  const reference = decodeURIComponent(name);
  if (kind === 'tags') return reference === 'list' ? { kind: 'tags', repository } : { kind: 'other' };
  if (kind === 'blobs') return { kind: 'blob', repository, digest: reference };
  if (kind === 'referrers') return { kind: 'referrers', repository, digest: reference };
  return { kind: 'manifest', repository, ...(reference.includes(':') ? { digest: reference } : { tag: reference }) };
}

/** Returns nothing if the bytes are not JSON: a registry of this kit accepts any bytes as a manifest. */
export function documentOf(manifest: Buffer): ManifestDocument {
  try {
    return (JSON.parse(manifest.toString()) ?? {}) as ManifestDocument;
  } catch {
    return {};
  }
}
