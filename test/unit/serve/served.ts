/** An archive in memory with images, and a registry over it. */
import { Archive } from '../../../lib/archive/archive.ts';
import { recordMembers } from '../../../lib/archive/members.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { Registry, type RegistryOptions } from '../../../lib/serve/registry.ts';
import type { Digest } from '../../../lib/oci/digest.ts';
import { parseManifest } from '../../../lib/oci/manifest.ts';
import { referralOf } from '../../../lib/oci/referral.ts';
import type { Pushable } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';

const HOUR = 3_600_000;

export class Served {
  readonly store: MemoryStore;
  readonly archive: Archive;
  readonly faults: string[] = [];
  registry: Registry;

  constructor(options: Partial<RegistryOptions> = {}, store = new MemoryStore()) {
    this.store = store;
    this.archive = new Archive(store, ociLayout, 1_000);
    this.registry = this.with(options);
  }

  /** A registry with other options over the same archive. */
  with(options: Partial<RegistryOptions>): Registry {
    const { archive } = this;
    this.registry = new Registry({ archive, onFault: (text) => this.faults.push(text), ...options });
    return this.registry;
  }

  /** Writes an image as a sync does: blobs with receipts, manifests, the records of children, and the reference. */
  async add(repository: string, image: Pushable, tag?: string, observed = 1_000): Promise<void> {
    await this.#content(repository, image);
    const members = new Map(
      below(image).map(({ digest, mediaType }) => [
        digest,
        { mediaType, root: image.digest, platforms: 'all' as const },
      ]),
    );
    await recordMembers(this.archive, repository, members);
    await this.tag(repository, image, [tag], observed);
  }

  /** Writes references to an image whose content the archive has, an hour after each other. */
  async tag(
    repository: string,
    { digest, mediaType, manifest }: Pushable,
    tags: readonly (string | undefined)[],
    observed: number,
  ): Promise<void> {
    const descriptor = { digest, mediaType, size: manifest.length };
    const changes = tags.map((tag, at) => ({
      ...{ descriptor, observed: observed + at * HOUR, platforms: 'all' as const },
      ...(tag === undefined ? {} : { tag }),
    }));
    await this.archive.updateTags(repository, changes);
  }

  /** Writes a referrer as a sync does, with the subject of its manifest, or with that of cosign's tag. */
  async refer(
    repository: string,
    referrer: Pushable,
    of: { readonly tag?: string; readonly subject?: Digest } = {},
    observed = 1_000,
  ): Promise<void> {
    const { digest, mediaType, manifest } = referrer;
    await this.#content(repository, referrer);
    const referral = referralOf(parseManifest(manifest, mediaType));
    const descriptor = { digest, mediaType, size: manifest.length };
    await this.archive.updateTags(repository, [{ descriptor, observed, platforms: 'all', ...referral, ...of }]);
  }

  async #content(repository: string, { manifest, digest, blobs, children }: Pushable): Promise<void> {
    const config = (JSON.parse(manifest.toString()) as { config?: { digest: string } }).config?.digest;
    for (const [blob, bytes] of blobs) {
      await this.archive.putContent(blob, bytes);
      const receipt = { version: 1, digest: blob, size: bytes.length, diffIds: {}, source: repository } as const;
      if (blob !== config) await this.archive.putReceipt({ ...receipt, verifiedAt: '2026-01-31T00:00:00.000Z' });
    }
    await this.archive.putContent(digest, manifest);
    for (const child of children) await this.#content(repository, child);
  }

  async get(target: string, headers: Readonly<Record<string, string>> = {}, method = 'GET'): Promise<Response> {
    // The registry reads the raw target, and nothing of the URL.
    const request = new Request('http://registry.example/', { method, headers });
    return (await this.registry.serve(request, target)).response;
  }
}

function below({ children }: Pushable): readonly Pushable[] {
  return children.flatMap((child) => [child, ...below(child)]);
}

export async function bytesOf(response: Response): Promise<Buffer> {
  return Buffer.from(await response.arrayBuffer());
}

/** The status, and the code of the error. */
export async function refusal(response: Response): Promise<string> {
  const { errors } = (await response.json()) as { errors: { code: string; message: string }[] };
  return `${response.status} ${errors.map(({ code }) => code).join()}`;
}
