import { Failure, type FailureCode } from '../core/failure.ts';
import { digestOf, digestParts, isDigest, type Digest } from '../oci/digest.ts';
import { formatReference, formatRepository, type Repository } from '../oci/reference.ts';
import { RegistryBlob } from './blob.ts';
import type { Operation, RegistryClient } from './client.ts';
import { manifestAt, resolveAt } from './manifests.ts';
import { sharingTags } from './referrer-tags.ts';
import { listReferrers } from './referrers.ts';
import type { BlobSource, Cancel, FetchedManifest, Referrers, ReferrersQuery, Resolved, Source } from './source.ts';
import { listTags } from './tags.ts';

export class RegistryRepository implements Source {
  readonly repository: string;
  readonly #client: RegistryClient;
  readonly #name: Repository;

  constructor(client: RegistryClient, name: Repository) {
    this.#client = client;
    this.#name = name;
    this.repository = formatRepository(name);
  }

  resolve(tagOrDigest: string, { signal }: Cancel = {}): Promise<Resolved> {
    const separator = tagOrDigest.includes(':') ? '@' : ':';
    const operation = this.#operation(`resolve ${this.repository}${separator}${tagOrDigest}`, signal);
    const options = { ...operation, reference: tagOrDigest };
    return this.#client.request(operation, isDigest(tagOrDigest) ? 'digest' : 'tag', (one) => resolveAt(one, options));
  }

  fetchTag(tag: string, { signal }: Cancel = {}): Promise<FetchedManifest> {
    const options = { ...this.#operation(`get manifest ${this.repository}:${tag}`, signal), reference: tag };
    return this.#client.request(options, 'tag', (one) => manifestAt(one, options));
  }

  manifest(digest: Digest, { signal }: Cancel = {}): Promise<FetchedManifest> {
    const options = { ...this.#operation(`get manifest ${this.#at(digest)}`, signal), reference: digest };
    return this.#client.request(options, 'digest', (one) => manifestAt(one, options));
  }

  async smallBlob(
    digest: Digest,
    { maxBytes, size, signal }: { readonly maxBytes: number; readonly size?: number } & Cancel,
  ): Promise<Uint8Array> {
    const operation = `get blob ${this.#at(digest)}`;
    const fail = (code: FailureCode, detail: string): Failure =>
      new Failure({ operation, side: 'source', code, detail });
    const tooLarge = (bytes: number | string): Failure =>
      fail('too-large', `the blob is too large: expected at most ${maxBytes} bytes, got ${bytes}`);
    if (size !== undefined && size > maxBytes) throw tooLarge(size);
    const blob = this.blob(digest, { signal, ...(size === undefined ? {} : { size }) });
    // Bytes from several responses may be mixed, so a digest mismatch is retried once.
    for (let last = false; ; last = true) {
      const { body, total, resumed } = await blob.open({ start: 0 });
      const chunks: Uint8Array[] = [];
      let length = 0;
      for await (const chunk of body) {
        length += chunk.length;
        if ((total ?? length) > maxBytes || length > maxBytes) throw tooLarge(total ?? `more than ${maxBytes}`);
        chunks.push(chunk);
      }
      const bytes = Buffer.concat(chunks, length);
      const found = digestOf(bytes, digestParts(digest).algorithm);
      if (found === digest) return bytes;
      const code = resumed() === 0 ? 'digest-mismatch' : 'digest-mismatch-resumed';
      if (last || resumed() === 0) throw fail(code, `the received bytes have the digest ${found}`);
    }
  }

  blob(
    digest: Digest,
    options: { readonly size?: number; readonly urls?: readonly string[] } & Cancel = {},
  ): BlobSource {
    const operation = this.#operation(`get blob ${this.#at(digest)}`, options.signal);
    return new RegistryBlob({ ...options, ...operation, digest });
  }

  tags({ signal }: Cancel = {}): AsyncIterable<readonly string[]> {
    const operation = this.#operation(`list tags of ${this.repository}`, signal);
    const { client, repository } = operation;
    const before = client.referrerTags.get(repository);
    return sharingTags(listTags(operation), client.options.now(), (tags = before) => {
      if (tags === undefined) client.referrerTags.delete(repository);
      else client.referrerTags.set(repository, tags);
    });
  }

  referrers(digest: Digest, query: ReferrersQuery & Cancel = {}): Promise<Referrers> {
    const operation = this.#operation(`list referrers of ${this.#at(digest)}`, query.signal);
    return listReferrers({ ...query, ...operation, digest });
  }

  #at(digest: Digest): string {
    return formatReference({ ...this.#name, digest });
  }

  #operation(operation: string, signal: AbortSignal | undefined): Operation {
    return { client: this.#client, repository: this.#name.path, operation, signal };
  }
}
