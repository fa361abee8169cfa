import type { LambdaFunctionURLEvent } from 'aws-lambda';
import { describe, expect, test } from 'vitest';
import { Failure } from '../../../lib/base/failure.ts';
import { parseConfig } from '../../../lib/config/config.ts';
import type { ResolveMessage } from '../../../lib/queue/messages.ts';
import { parseMessage, serialise } from '../../../lib/queue/parse.ts';
import type { Outgoing } from '../../../lib/queue/queue.ts';
import type { Delivery, Sender } from '../../../lib/webhook/delivery.ts';
import { translateEcr } from '../../../lib/webhook/ecr.ts';
import { decide, decideEcr, handleWebhook } from '../../../lib/webhook/handle.ts';
import { ordersFor, runOf } from '../../../lib/webhook/orders.ts';
import { deliveryOf, DIGEST, DOCKERHUB, ECR, GOOD, QUAY, SECRETS } from './samples.ts';

const CONFIG = parseConfig(
  `
version: 1
mirrors:
  - { source: svendowideit/testhook, tags: [latest], platforms: [linux/amd64] }
  - { source: ghcr.io/codertocat/hello-world, tags: all, destination: mirror.example.com/hello }
  - { source: harbor.example.com/harbor/alpine, tags: { include: ['3.*'] } }
  - { source: quay.io/dgangaia/test, tags: { include: ['[0-9]*', latest], newest: 3 } }
  - { source: quay.io/dgangaia/test, tags: [latest], destination: mirror.example.com/latest }
  - { source: 192.168.100.227:5000/hello-world, tags: all }
  - { source: 123456789012.dkr.ecr.us-west-2.amazonaws.com/my-repository-name, tags: all }`,
  'mirror.yaml',
);

function eventOf({ headers, body, path = '/', query = '' }: Delivery, requestId = 'request-1'): LambdaFunctionURLEvent {
  const http = { method: 'POST', path, protocol: 'HTTP/1.1', sourceIp: '192.0.2.1', userAgent: 'test' };
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath: path,
    rawQueryString: query,
    headers: headers,
    body: Buffer.from(body).toString('base64'),
    isBase64Encoded: true,
    requestContext: {
      accountId: 'anonymous',
      apiId: 'id',
      domainName: 'id.lambda-url.eu-central-1.on.aws',
      domainPrefix: 'id',
      http,
      requestId,
      routeKey: '$default',
      stage: '$default',
      time: '',
      timeEpoch: 0,
    },
  };
}

const messagesOf = (sender: Sender, document: object, requestId?: string): readonly Outgoing<ResolveMessage>[] =>
  decide(eventOf(deliveryOf(sender, document), requestId), SECRETS, CONFIG).messages;

describe('what becomes of a delivery', () => {
  // Each sender's own delivery ends as messages that the queue takes, with what the configuration says of the mirror.
  test.each(GOOD)('%s', (sender, document) => {
    const { answer, messages, entry } = decide(eventOf(deliveryOf(sender, document)), SECRETS, CONFIG);
    expect(answer).toMatchObject({ statusCode: 202, body: '{"message":"to be mirrored"}' });
    expect(messages.length).toBeGreaterThan(0);
    for (const { message } of messages) expect(parseMessage(serialise(message))).toEqual(message);
    expect(entry).toMatchObject({ sender, queued: messages.length });
  });

  // The tag is asked for and the digest is not: what a late delivery says the tag was must not become what it is.
  test('only tags are asked for', () => {
    expect(messagesOf('dockerhub', DOCKERHUB).map(({ message }) => message)).toEqual([
      {
        version: 1,
        type: 'resolve',
        run: expect.stringMatching(/^webhook-[0-9a-f]{32}$/),
        source: 'docker.io/svendowideit/testhook',
        repository: 'docker.io/svendowideit/testhook',
        platforms: [{ os: 'linux', architecture: 'amd64' }],
        what: { kind: 'images', images: [{ tag: 'latest' }] },
      },
    ]);
    const all = GOOD.flatMap(([sender, document]) => messagesOf(sender, document));
    expect(JSON.stringify(all)).not.toContain(DIGEST);
  });

  // A repository that goes to two places is asked for twice, and a version among the newest by its list.
  test('each mirror by its own selection', () => {
    expect(messagesOf('quay', QUAY).map(({ message }) => [message.repository, message.what])).toEqual([
      ['quay.io/dgangaia/test', { kind: 'list' }],
      ['mirror.example.com/latest', { kind: 'images', images: [{ tag: 'latest' }] }],
    ]);
    const named = messagesOf('quay', { ...QUAY, updated_tags: ['latest', 'latest', 'edge'] });
    expect(named[0]?.message.what).toEqual({ kind: 'images', images: [{ tag: 'latest' }] });
  });

  // Nobody can have mirrored what the configuration does not name: another repository, another tag, no tag.
  test.each([
    ['another repository', { ...DOCKERHUB, repository: { repo_name: 'svendowideit/other' } }],
    ['another tag', { ...DOCKERHUB, push_data: { tag: 'edge' } }],
    ['no tag', { ...DOCKERHUB, push_data: {} }],
  ])('%s is not mirrored', (_, document) => {
    const { answer, messages } = decide(eventOf(deliveryOf('dockerhub', document)), SECRETS, CONFIG);
    expect(answer).toMatchObject({ statusCode: 200, body: '{"message":"nothing of this is mirrored"}' });
    expect(messages).toEqual([]);
  });

  // Delivered again, it is the same messages to the letter, and the queue swallows them; changed, it is others.
  test('a delivery that is repeated', () => {
    const ids = (document: object, requestId: string): string[] =>
      messagesOf('dockerhub', document, requestId).map(({ deduplicationId }) => deduplicationId);
    expect(ids(DOCKERHUB, 'request-2')).toEqual(ids(DOCKERHUB, 'request-1'));
    const later = { ...DOCKERHUB, push_data: { ...DOCKERHUB.push_data, pushed_at: 1417566162 } };
    expect(ids(later, 'request-1')).not.toEqual(ids(DOCKERHUB, 'request-1'));
  });

  // Two pushes of one tag within five minutes are the same to the letter at Quay: the second must not be swallowed.
  test('quay pushes twice', () => {
    const ids = ['request-1', 'request-2'].flatMap((request) =>
      messagesOf('quay', QUAY, request).map(({ deduplicationId }) => deduplicationId),
    );
    expect(new Set(ids).size).toBe(4);
  });

  // Parts that are put together otherwise are another run.
  test('runs', () => {
    expect(runOf('webhook', 'a', 'bc')).not.toBe(runOf('webhook', 'ab', 'c'));
    expect(ordersFor([], CONFIG, 'run')).toEqual([]);
  });
});

describe('what is answered', () => {
  const logged: unknown[] = [];
  const deps = {
    secrets: () => Promise.resolve(SECRETS),
    config: () => Promise.resolve(CONFIG),
    send: () => Promise.resolve(),
    log: (level: string, entry: object) => void logged.push({ level, ...entry }),
  };
  const good = eventOf(deliveryOf('dockerhub', DOCKERHUB));

  // It is accepted when it is in the queue, and not before.
  test('accepted', async () => {
    const sent: unknown[] = [];
    const answer = await handleWebhook(good, {
      ...deps,
      send: (messages) => Promise.resolve(void sent.push(...messages)),
    });
    expect(answer.statusCode).toBe(202);
    expect(sent).toHaveLength(1);
  });

  // Secrets, configuration or queue are out of reach, or there is a bug: the caller may come again, and learns nothing.
  test.each([
    ['secrets', () => Promise.reject(new Error('hunter2'))],
    [
      'config',
      () => Promise.reject(new Failure({ operation: 'read', side: 'archive', code: 'io', detail: 'hunter2' })),
    ],
    [
      'send',
      () => Promise.reject(new Failure({ operation: 'send', side: 'queue', code: 'unavailable', detail: 'hunter2' })),
    ],
    ['secrets', () => Promise.resolve(null as never)],
  ] as const)('not now: %s', async (name, broken) => {
    logged.length = 0;
    const answer = await handleWebhook(good, { ...deps, [name]: broken });
    expect(answer).toEqual({
      statusCode: 503,
      headers: { 'content-type': 'application/json' },
      body: '{"message":"not now; try again later"}',
    });
    expect(logged).toEqual([expect.objectContaining({ level: 'error', reason: expect.any(String) })]);
  });

  // What was refused is in the log with its reason, and no secret that was in the URL or a header is.
  test('refused', async () => {
    logged.length = 0;
    const delivery = deliveryOf('dockerhub', { ...QUAY });
    expect((await handleWebhook(eventOf(delivery), deps)).statusCode).toBe(403);
    expect((await handleWebhook(eventOf({ ...delivery, path: '/' }), deps)).statusCode).toBe(401);
    expect(logged).toMatchObject([
      { level: 'warn', status: 403, reason: 'this is not proven to be from quay' },
      { level: 'warn', status: 401, requestId: 'request-1' },
    ]);
    expect(JSON.stringify(logged)).not.toContain(SECRETS.dockerhub[0]);
  });

  // A browser, or somebody who looks for open doors.
  test('no POST', async () => {
    const http = { ...good.requestContext.http, method: 'GET' };
    const answer = await handleWebhook({ ...good, requestContext: { ...good.requestContext, http } }, deps);
    expect(answer).toMatchObject({ statusCode: 405, headers: { allow: 'POST' } });
  });

  // Text bodies come as they are, headers in any case, and a body may be missing.
  test('other forms of the event', async () => {
    const { authorization: _, ...rest } = good.headers;
    const plain = {
      ...good,
      headers: Object.fromEntries(Object.entries(rest).map(([name, value]) => [name.toUpperCase(), value])),
      body: JSON.stringify(DOCKERHUB),
      isBase64Encoded: false,
    };
    expect((await handleWebhook(plain, deps)).statusCode).toBe(202);
    const { body: __, ...without } = plain;
    expect((await handleWebhook(without, deps)).statusCode).toBe(400);
  });
});

describe('ECR', () => {
  // The event that AWS documents.
  test('a push', () => {
    const repository = '123456789012.dkr.ecr.us-west-2.amazonaws.com/my-repository-name';
    expect(translateEcr(ECR)).toEqual({ kind: 'pushed', sender: 'ecr', items: [{ repository, tag: 'latest' }] });
    const { messages, entry } = decideEcr(ECR, CONFIG);
    expect(messages).toMatchObject([{ message: { source: repository, what: { images: [{ tag: 'latest' }] } } }]);
    expect(entry).toMatchObject({ queued: 1 });
    expect(decideEcr(structuredClone(ECR), CONFIG).messages).toEqual(messages);
    const again = decideEcr({ ...ECR, id: 'b' }, CONFIG).messages;
    expect(again[0]?.deduplicationId).not.toBe(messages[0]?.deduplicationId);
  });

  test.each([
    ['a deletion', { ...ECR, detail: { ...ECR.detail, 'action-type': 'DELETE' } }, 'ignored'],
    ['a push that failed', { ...ECR, detail: { ...ECR.detail, result: 'FAILURE' } }, 'ignored'],
    ['a scan', { ...ECR, 'detail-type': 'ECR Image Scan' }, 'ignored'],
    ['another source', { ...ECR, source: 'my.app' }, 'ignored'],
    ['a tag that is none', { ...ECR, detail: { ...ECR.detail, 'image-tag': 'a b' } }, 'refused'],
    ['no repository', { ...ECR, detail: { ...ECR.detail, 'repository-name': null } }, 'refused'],
    ['nothing', null, 'refused'],
  ])('%s', (_, event, kind) => {
    expect(translateEcr(event)).toMatchObject({ kind, reason: expect.any(String) });
    expect(decideEcr(event, CONFIG).messages).toEqual([]);
  });

  // China's partition has a domain of its own.
  test('in China', () => {
    expect(translateEcr({ ...ECR, region: 'cn-north-1' })).toMatchObject({
      items: [{ repository: '123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/my-repository-name' }],
    });
  });
});
