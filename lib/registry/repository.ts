import { isDigest, type Digest } from '../oci/digest.ts';
import { formatReference, formatRepository, type Repository } from '../oci/reference.ts';
import { RegistryBlob } from './blob.ts';
import type { Operation, RegistryClient } from './client.ts';
import { manifestAt, resolveAt } from './manifests.ts';
import { sharingTags } from './referrer-tags.ts';
import { listReferrers } from './referrers.ts';
import { readSmallBlob } from './small-blob.ts';
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
    const operation = this.#operation(`get blob ${this.#at(digest)}`, signal);
    return readSmallBlob({ ...operation, digest, maxBytes, size });
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
