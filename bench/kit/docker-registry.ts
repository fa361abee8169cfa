/**
 * The CNCF distribution registry: the upstream of all contestants, and the gateway through which other tools write to
 * S3.
 */
import { writeFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { Agent, request } from 'undici';
import type { Digest } from '../../lib/oci/digest.ts';
import type { Content } from '../../test/kit/content.ts';
import { contentOf } from '../../test/kit/content.ts';
import type { Pushable } from '../../test/kit/images.ts';
import type { S3Server } from '../../test/kit/s3-server.ts';
import { tempFolder } from '../../test/kit/temp.ts';
import { type Server, startServer } from './server.ts';

export interface DockerRegistry extends Server {
  /** Pushes an image with all its content; content that the registry has is not sent again. */
  push(repository: string, image: Pushable, tag: string): Promise<void>;
}

/** Starts a registry that stores in a bucket, or in a folder that is removed with it. */
export async function startDockerRegistry(
  binary: string,
  bucket?: { readonly server: S3Server; readonly name: string },
): Promise<DockerRegistry> {
  const folder = await tempFolder();
  const storage = bucket === undefined ? { filesystem: { rootdirectory: folder.join('data') } } : inBucket(bucket);
  try {
    const server = await startServer(
      (port) => [binary, 'serve', folder.join(`${port}.yml`)],
      '/v2/',
      folder.path,
      async (port) => {
        const http = { addr: `127.0.0.1:${port}` };
        // JSON is YAML.
        const config = { version: 0.1, log: { level: 'error', accesslog: { disabled: true } }, storage, http };
        await writeFile(folder.join(`${port}.yml`), JSON.stringify(config));
      },
    );
    const pusher = new Pusher(server.host);
    return {
      host: server.host,
      push: (repository, image, tag) => pusher.push(repository, image, tag),
      async [Symbol.asyncDispose]() {
        await pusher.close();
        await server[Symbol.asyncDispose]();
        await folder.remove();
      },
    };
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

function inBucket({ server, name }: { readonly server: S3Server; readonly name: string }): Record<string, unknown> {
  const { accessKeyId: accesskey, secretAccessKey: secretkey } = server.credentials;
  return {
    s3: {
      accesskey,
      secretkey,
      region: server.region,
      bucket: name,
      regionendpoint: server.endpoint,
      secure: false,
      forcepathstyle: true,
    },
  };
}

/** OCI distribution spec 1.1, "Push", in its simplest form. */
class Pusher {
  readonly #base: string;
  readonly #agent = new Agent({ connections: 8 });
  readonly #pushed = new Map<string, Promise<void>>();

  constructor(host: string) {
    this.#base = `http://${host}/v2`;
  }

  close(): Promise<void> {
    return this.#agent.close();
  }

  async push(repository: string, image: Pushable, tag: string): Promise<void> {
    const blobs = [
      ...[...image.blobs].map(([digest, bytes]) => [digest, contentOf(bytes)] as const),
      ...image.generated,
    ];
    await Promise.all(blobs.map(([digest, content]) => this.#once(repository, digest, content)));
    const url = `${this.#base}/${repository}/manifests/${tag}`;
    await this.#send('PUT', url, 201, { 'content-type': image.mediaType }, image.manifest);
  }

  #once(repository: string, digest: Digest, content: Content): Promise<void> {
    const key = `${repository}@${digest}`;
    const pushed = this.#pushed.get(key) ?? this.#blob(repository, digest, content);
    this.#pushed.set(key, pushed);
    return pushed;
  }

  async #blob(repository: string, digest: Digest, content: Content): Promise<void> {
    const location = await this.#send('POST', `${this.#base}/${repository}/blobs/uploads/`, 202, {});
    const url = new URL(location, this.#base);
    url.searchParams.set('digest', digest);
    const headers = { 'content-type': 'application/octet-stream', 'content-length': String(content.size) };
    await this.#send('PUT', url.href, 201, headers, Readable.from(content.read(0, content.size)));
  }

  /** Resolves to the Location header of the response. */
  async #send(
    method: 'POST' | 'PUT',
    url: string,
    wanted: number,
    headers: Record<string, string>,
    sent?: Buffer | Readable,
  ): Promise<string> {
    const options = { method, headers, dispatcher: this.#agent, ...(sent === undefined ? {} : { body: sent }) };
    const { statusCode, headers: answered, body } = await request(url, options);
    const text = await body.text();
    if (statusCode !== wanted) throw new Error(`${method} ${url}: ${statusCode} ${text}`);
    return String(answered['location'] ?? '');
  }
}
