import { Failure, type FailureCode } from '../core/failure.ts';
import { digestParts, hasher, isDigest, toDigest, type Digest } from '../oci/digest.ts';
import { formatReference, formatRepository, type Repository } from '../oci/reference.ts';
import { RegistryBlob } from './blob.ts';
import type { RegistryClient } from './client.ts';
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
    const options = this.#options(`resolve ${this.repository}${separator}${tagOrDigest}`, tagOrDigest, signal);
    const by = isDigest(tagOrDigest) ? 'digest' : 'tag';
    return this.#client.request(options.operation, (one) => resolveAt(one, options), { by, signal });
  }

  fetchTag(tag: string, { signal }: Cancel = {}): Promise<FetchedManifest> {
    const options = this.#options(`get manifest ${this.repository}:${tag}`, tag, signal);
    return this.#client.request(options.operation, (one) => manifestAt(one, options), { by: 'tag', signal });
  }

  manifest(digest: Digest, { signal }: Cancel = {}): Promise<FetchedManifest> {
    const options = this.#options(`get manifest ${this.#at(digest)}`, digest, signal);
    return this.#client.request(options.operation, (one) => manifestAt(one, options), { by: 'digest', signal });
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
      const { algorithm } = digestParts(digest);
      const found = toDigest(algorithm, hasher(algorithm).update(bytes).digest('hex'));
      if (found === digest) return bytes;
      const code = resumed() === 0 ? 'digest-mismatch' : 'digest-mismatch-resumed';
      if (last || resumed() === 0) throw fail(code, `the received bytes have the digest ${found}`);
    }
  }

  blob(
    digest: Digest,
    options: { readonly size?: number; readonly urls?: readonly string[] } & Cancel = {},
  ): BlobSource {
    const { size, urls, signal } = options;
    const operation = `get blob ${this.#at(digest)}`;
    return new RegistryBlob({
      client: this.#client,
      repository: this.#name.path,
      digest,
      operation,
      size,
      urls,
      signal,
    });
  }

  tags({ signal }: Cancel = {}): AsyncIterable<readonly string[]> {
    const operation = `list tags of ${this.repository}`;
    const [client, repository] = [this.#client, this.#name.path];
    const pages = listTags({ client, repository, operation, signal });
    const before = client.referrerTags.get(repository);
    return sharingTags(pages, client.options.now(), (tags = before) => {
      if (tags === undefined) client.referrerTags.delete(repository);
      else client.referrerTags.set(repository, tags);
    });
  }

  referrers(digest: Digest, query: ReferrersQuery & Cancel = {}): Promise<Referrers> {
    const { artifactTypes, fresh, signal } = query;
    const operation = `list referrers of ${this.#at(digest)}`;
    const repository = this.#name.path;
    return listReferrers({ client: this.#client, repository, digest, operation, artifactTypes, fresh, signal });
  }

  #at(digest: Digest): string {
    return formatReference({ ...this.#name, digest });
  }

  #options(operation: string, reference: string, signal: AbortSignal | undefined) {
    return { client: this.#client, repository: this.#name.path, reference, operation, signal };
  }
}
