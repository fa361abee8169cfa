import { isIPv4 } from 'node:net';
import { S3Client } from '@aws-sdk/client-s3';
import type { S3ClientConfig } from '@aws-sdk/client-s3';

export interface ConnectOptions {
  /** Overrides the region of the environment and the profile. */
  readonly region?: string | undefined;
  /** Overrides AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL and the profile's endpoint_url. */
  readonly endpoint?: string | undefined;
  readonly credentials?: S3ClientConfig['credentials'] | undefined;
  /** The maximum number of connections; more requests wait for a free one. Default: 64. */
  readonly sockets?: number | undefined;
  /** Default: 10 s. */
  readonly connectionTimeoutMs?: number | undefined;
  /** The maximum time without data; a whole part may take longer on a slow connection. Default: 60 s. */
  readonly silenceMs?: number | undefined;
}

/** The default region for servers other than AWS; all of them accept it. */
const REGION_OF_ENDPOINTS = 'us-east-1';

/**
 * A client with the SDK's default configuration: profile, region, credentials and endpoint URL from the environment and the
 * files in ~/.aws. An endpoint URL implies path-style addressing, because such servers have no DNS name per bucket.
 */
export async function connect(options: ConnectOptions): Promise<S3Client> {
  const config: S3ClientConfig = {
    ...(options.region === undefined ? {} : { region: options.region }),
    ...(options.credentials === undefined ? {} : { credentials: options.credentials }),
    // `calls.ts` retries.
    maxAttempts: 1,
    // Requests have explicit checksums (or none, see MIRROR_SYNC_S3_CHECKSUMS), and content that is read is verified by its
    // digest.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // The header would open a new connection for each body above 2 MiB.
    expectContinueHeader: false,
    requestHandler: {
      connectionTimeout: options.connectionTimeoutMs ?? 10_000,
      socketTimeout: options.silenceMs ?? 60_000,
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
 * Whether the signature may omit the body, which saves a SHA-256 of it. It may if a signed header has a cryptographic
 * checksum (x-amz-checksum-sha256), or if TLS or loopback protects the body and the checksum has to detect only accidents
 * (x-amz-checksum-crc32). A body without a checksum is always signed.
 */
function bodyIsBound({ protocol, hostname, headers }: HttpRequest): boolean {
  if (headers['x-amz-checksum-sha256'] !== undefined) return true;
  const loopback =
    hostname === 'localhost' || hostname === '[::1]' || (isIPv4(hostname) && hostname.startsWith('127.'));
  return headers['x-amz-checksum-crc32'] !== undefined && (protocol === 'https:' || loopback);
}
