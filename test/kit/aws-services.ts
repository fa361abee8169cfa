import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

/** The events on the event bus. */
export interface BusEvent {
  readonly source: string;
  readonly type: string;
  readonly detail: Readonly<Record<string, unknown>>;
}

export interface AwsServices extends AsyncDisposable {
  readonly events: readonly BusEvent[];
  readonly endpoint: string;
}

interface Entry {
  readonly Source: string;
  readonly DetailType: string;
  readonly Detail: string;
}

/** The token of ECR. */
export const ECR_LOGIN = { user: 'AWS', password: 'a-token-of-ecr' };

/**
 * The part of Secrets Manager, EventBridge and ECR that the functions use: GetSecretValue, PutEvents and
 * GetAuthorizationToken of AWS's JSON protocol.
 */
export async function startAwsServices(secrets: Readonly<Record<string, string>>): Promise<AwsServices> {
  const events: BusEvent[] = [];
  const answer = (target: string | undefined, body: unknown): object | undefined => {
    if (target === 'secretsmanager.GetSecretValue') {
      const { SecretId } = body as { SecretId: string };
      const SecretString = secrets[SecretId];
      return SecretString === undefined ? undefined : { ARN: SecretId, Name: SecretId, SecretString };
    }
    if (target === 'AWSEvents.PutEvents') {
      const { Entries } = body as { Entries: readonly Entry[] };
      for (const { Source, DetailType, Detail } of Entries)
        events.push({ source: Source, type: DetailType, detail: JSON.parse(Detail) as BusEvent['detail'] });
      return { FailedEntryCount: 0, Entries: Entries.map((_, index) => ({ EventId: String(index) })) };
    }
    if (target === 'AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken') {
      const authorizationToken = Buffer.from(`${ECR_LOGIN.user}:${ECR_LOGIN.password}`).toString('base64');
      return { authorizationData: [{ authorizationToken, expiresAt: Date.now() / 1000 + 12 * 3600 }] };
    }
    return undefined;
  };
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      const found = answer(request.headers['x-amz-target'] as string | undefined, JSON.parse(body));
      response
        .writeHead(found === undefined ? 400 : 200, { 'content-type': 'application/x-amz-json-1.1' })
        .end(JSON.stringify(found ?? { __type: 'ResourceNotFoundException' }));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    events,
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
