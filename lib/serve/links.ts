import type { Archive } from '../archive/archive.ts';
import type { Digest } from '../oci/digest.ts';
import { type Headers, redirected } from './answers.ts';
import type { Answer } from './served.ts';

export interface LinksOptions {
  readonly archive: Archive;
  readonly proxyBlobs: boolean;
  readonly maxBodyBytes: number;
}

/** Content that the caller has proven. */
export interface Proven {
  readonly digest: Digest;
  readonly size: number;
}

/** Decides which content a client reads from the store itself. A link of S3 refuses HEAD. */
export class Links {
  readonly #o: LinksOptions;

  constructor(options: LinksOptions) {
    this.#o = options;
  }

  /** A redirect to a layer; undefined if this server sends it. */
  async layer(request: Request, { digest, size }: Proven, headers: Headers): Promise<Answer | undefined> {
    const { archive, proxyBlobs } = this.#o;
    const { store, layout } = archive;
    const link = proxyBlobs ? undefined : store.link?.bind(store, layout.blob(digest));
    if (link === undefined || request.method !== 'GET') return undefined;
    return await redirected(request, size, link, headers);
  }

  /** A redirect to a manifest or a config that is too large for a response of this host; undefined for any other. */
  async large(request: Request, { digest, size }: Proven, headers: Headers): Promise<Answer | undefined> {
    const { archive, maxBodyBytes } = this.#o;
    const { store, layout } = archive;
    if (size <= maxBodyBytes || request.method !== 'GET') return undefined;
    // Clients need the media type of a manifest.
    const { 'content-type': contentType = '' } = headers;
    const link = store.link?.bind(store, layout.blob(digest), { contentType });
    return link === undefined ? undefined : await redirected(request, size, link, headers);
  }
}
