import { isIPv4 } from 'node:net';
import { S3Client } from '@aws-sdk/client-s3';
import type { S3ClientConfig } from '@aws-sdk/client-s3';

export interface ConnectOptions {
  /** Overrides what the SDK finds in the environment and the profile. */
  readonly region?: string | undefined;
  /** Overrides AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL and the profile's endpoint_url. */
  readonly endpoint?: string | undefined;
  readonly credentials?: S3ClientConfig['credentials'] | undefined;
  /** Connections at once; more requests than that wait for one. 64 unless told. */
  readonly sockets?: number | undefined;
}

/** What a server other than AWS is told where nobody names a region; most of them take any, and this one always. */
const REGION_OF_ENDPOINTS = 'us-east-1';

/**
 * A client with the SDK's usual configuration: profile, region, credentials and endpoint URL from the environment and the
 * files in ~/.aws. Where an endpoint URL is set, buckets are addressed by path: such servers have no DNS name a bucket.
 */
export async function connect(options: ConnectOptions): Promise<S3Client> {
  const config: S3ClientConfig = {
    ...(options.region === undefined ? {} : { region: options.region }),
    ...(options.credentials === undefined ? {} : { credentials: options.credentials }),
    // Retries are the callers' (calls.ts): the SDK's cut Retry-After short and leave timers behind an abort.
    maxAttempts: 1,
    // Each body carries a checksum that was computed here, once (or none, see MIRROR_SYNC_S3_CHECKSUMS); what is read is
    // compared with digests.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // It would open a new connection for each body above 2 MiB.
    expectContinueHeader: false,
    requestHandler: {
      connectionTimeout: 10_000,
      // Without a byte either way; a whole part may take longer on a thin line.
      socketTimeout: 60_000,
      httpAgent: { keepAlive: true, maxSockets: options.sockets ?? 64 },
      httpsAgent: { keepAlive: true, maxSockets: options.sockets ?? 64 },
    },
  };
  let client = new S3Client(config);
  const endpoint = options.endpoint ?? (await client.config.serviceConfiguredEndpoint?.());
  if (endpoint !== undefined) {
    const region = await client.config.region().catch(() => REGION_OF_ENDPOINTS);
    client.destroy();
    client = new S3Client({ ...config, endpoint, region, forcePathStyle: true });
  }
  client.middlewareStack.add(
    (next) => (args) => {
      if (isHttpRequest(args.request) && bodyIsBound(args.request))
        args.request.headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD';
      return next(args);
    },
    { step: 'build', priority: 'low', name: 'mirrorSyncUnsignedPayload' },
  );
  return client;
}

interface HttpRequest {
  readonly protocol: string;
  readonly hostname: string;
  readonly headers: Record<string, string>;
}

function isHttpRequest(request: unknown): request is HttpRequest {
  return typeof request === 'object' && request !== null && 'headers' in request && 'hostname' in request;
}

/**
 * Whether the signature may leave out the body, which costs another SHA-256 of it: if a checksum that cannot be forged is among
 * the signed headers (x-amz-checksum-sha256), or if nothing can change the body on the way (TLS, loopback) and the checksum only
 * has to find accidents (x-amz-checksum-crc32). A body without a checksum is always signed: the signature is its checksum.
 */
function bodyIsBound({ protocol, hostname, headers }: HttpRequest): boolean {
  if (headers['x-amz-checksum-sha256'] !== undefined) return true;
  const loopback =
    hostname === 'localhost' || hostname === '[::1]' || (isIPv4(hostname) && hostname.startsWith('127.'));
  return headers['x-amz-checksum-crc32'] !== undefined && (protocol === 'https:' || loopback);
}
