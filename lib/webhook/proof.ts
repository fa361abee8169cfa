import { createHmac } from 'node:crypto';
import { type Delivery, type Sender, SENDERS } from './delivery.ts';
import { isOneOf, type WebhookSecrets } from './secrets.ts';

/** What a delivery brings to prove its sender, each by the means that the sender has. */
interface Evidence {
  /** `X-Hub-Signature-256`: `sha256=` and the body's HMAC in hex. */
  readonly signature: string | undefined;
  /** `Authorization`, without `Bearer`. */
  readonly authorization: string | undefined;
  /** What in the URL may be a secret: the last part of the path, and `secret` of the query. */
  readonly url: readonly string[];
}

/** The senders whose secret a delivery knows; nothing of the delivery is parsed for this. */
export function prove(delivery: Delivery, secrets: WebhookSecrets): ReadonlySet<Sender> {
  const evidence = evidenceOf(delivery);
  return new Set(SENDERS.filter((sender) => isProven(sender, evidence, delivery.body, secrets[sender] ?? [])));
}

/** Whether a delivery brings anything that could be a proof. */
export function triesToProve(delivery: Omit<Delivery, 'body'>): boolean {
  const { signature, authorization, url } = evidenceOf(delivery);
  return signature !== undefined || authorization !== undefined || url.length > 0;
}

function isProven(sender: Sender, evidence: Evidence, body: Uint8Array, secrets: readonly string[]): boolean {
  const { signature, authorization, url } = evidence;
  switch (sender) {
    case 'github':
      // The secret stays where it is: what is compared are signatures made with it.
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
      // These sign nothing, and send no header of one's choice: the URL is all that there is.
      return url.map((candidate) => isOneOf(candidate, secrets)).includes(true);
  }
}

/** https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries */
export function signatureOf(body: Uint8Array, secret: string): string {
  return `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
}

function evidenceOf({ headers, path = '', query = '' }: Omit<Delivery, 'body'>): Evidence {
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
