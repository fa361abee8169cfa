import { createHmac } from 'node:crypto';
import { type Delivery, type Sender, SENDERS } from './delivery.ts';
import { isOneOf, type WebhookSecrets } from './secrets.ts';

/** The credentials of a delivery; each sender supports one kind. */
interface ReceivedCredentials {
  /** `X-Hub-Signature-256`: `sha256=` and the HMAC of the body in hex. */
  readonly signature: string | undefined;
  /** `Authorization`, without `Bearer`. */
  readonly authorization: string | undefined;
  /** The possible secrets in the URL: the last component of the path, and `secret` in the query. */
  readonly url: readonly string[];
}

/** The senders that the delivery authenticates. The body is not parsed. */
export function authenticate(delivery: Delivery, secrets: WebhookSecrets): ReadonlySet<Sender> {
  const credentials = credentialsOf(delivery);
  return new Set(SENDERS.filter((sender) => isAuthentic(sender, credentials, delivery.body, secrets[sender] ?? [])));
}

/** Whether a delivery has any credential. */
export function hasCredential(delivery: Omit<Delivery, 'body'>): boolean {
  const { signature, authorization, url } = credentialsOf(delivery);
  return signature !== undefined || authorization !== undefined || url.length > 0;
}

function isAuthentic(
  sender: Sender,
  credentials: ReceivedCredentials,
  body: Uint8Array,
  secrets: readonly string[],
): boolean {
  const { signature, authorization, url } = credentials;
  switch (sender) {
    case 'github':
      return (
        signature !== undefined &&
        isOneOf(
          signature,
          secrets.map((secret) => signatureOf(body, secret)),
        )
      );
    case 'harbor':
    case 'distribution':
      return authorization !== undefined && isOneOf(authorization, secrets);
    case 'dockerhub':
    case 'quay':
      // These senders support neither signatures nor custom headers, so the secret is in the URL.
      return url.map((candidate) => isOneOf(candidate, secrets)).includes(true);
  }
}

/** https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries */
export function signatureOf(body: Uint8Array, secret: string): string {
  return `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
}

function credentialsOf({ headers, path = '', query = '' }: Omit<Delivery, 'body'>): ReceivedCredentials {
  const last = decoded(path.slice(path.lastIndexOf('/') + 1));
  const named = new URLSearchParams(query).get('secret') ?? '';
  return {
    signature: headers['x-hub-signature-256'],
    authorization: headers['authorization']?.replace(/^Bearer +/i, ''),
    url: [last, named].filter((candidate) => candidate !== ''),
  };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
