import type { LambdaFunctionURLEvent } from 'aws-lambda';
import { describe, expect, test } from 'vitest';
import { Failure } from '../../../lib/core/failure.ts';
import { parseConfig } from '../../../lib/config/config.ts';
import type { Config } from '../../../lib/config/mirrors.ts';
import type { Digest } from '../../../lib/oci/digest.ts';
import type { Order, ResolveMessage, Wanted } from '../../../lib/queue/messages.ts';
import { resolveMessage } from '../../../lib/queue/outgoing.ts';
import { parseMessage, serialise } from '../../../lib/queue/parse.ts';
import type { Outgoing } from '../../../lib/queue/queue.ts';
import { type Delivery, MAX_DELIVERY_BYTES, type Pushed, type Sender } from '../../../lib/webhook/delivery.ts';
import { translateEcr } from '../../../lib/webhook/ecr.ts';
import { decide, decideEcr, type Decision, handleWebhook } from '../../../lib/webhook/handle.ts';
import { allowed, ordersFor, runOf } from '../../../lib/webhook/orders.ts';
import { deliveryOf, DIGEST, DOCKERHUB, ECR, GITHUB, GOOD, HARBOR, QUAY, SECRETS } from './samples.ts';

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

const decided = (event: LambdaFunctionURLEvent): Promise<Decision> =>
  decide(event, { secrets: () => Promise.resolve(SECRETS), config: () => Promise.resolve(CONFIG) });

const messagesOf = async (
  sender: Sender,
  document: object,
  requestId?: string,
): Promise<readonly Outgoing<ResolveMessage>[]> =>
  (await decided(eventOf(deliveryOf(sender, document), requestId))).messages;

describe('a delivery', () => {
  test.each(GOOD)('becomes messages with the settings of its mirror: %s', async (sender, document) => {
    const { answer, messages, entry } = await decided(eventOf(deliveryOf(sender, document)));
    expect(answer).toMatchObject({ statusCode: 202, body: '{"message":"queued"}' });
    expect(messages.length).toBeGreaterThan(0);
    for (const { message } of messages) expect(parseMessage(serialise(message))).toEqual(message);
    expect(entry).toMatchObject({ sender, queued: messages.length });
  });

  // A late delivery must not decide the digest of a tag.
  test('requests only tags, and ignores its digests', async () => {
    expect((await messagesOf('dockerhub', DOCKERHUB)).map(({ message }) => message)).toEqual([
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
    const all = await Promise.all(GOOD.map(([sender, document]) => messagesOf(sender, document)));
    expect(JSON.stringify(all)).not.toContain(DIGEST);
  });

  test('requests a repository once per mirror, with the selection of that mirror', async () => {
    expect((await messagesOf('quay', QUAY)).map(({ message }) => [message.repository, message.what])).toEqual([
      ['quay.io/dgangaia/test', { kind: 'list' }],
      ['mirror.example.com/latest', { kind: 'images', images: [{ tag: 'latest' }] }],
    ]);
    const named = await messagesOf('quay', { ...QUAY, updated_tags: ['latest', 'latest', 'edge'] });
    expect(named[0]?.message.what).toEqual({ kind: 'images', images: [{ tag: 'latest' }] });
  });

  test.each([
    ['another repository', { ...DOCKERHUB, repository: { repo_name: 'svendowideit/other' } }],
    ['another tag', { ...DOCKERHUB, push_data: { tag: 'edge' } }],
    ['no tag', { ...DOCKERHUB, push_data: {} }],
  ])('is not mirrored if the configuration does not name %s', async (_, document) => {
    const { answer, messages } = await decided(eventOf(deliveryOf('dockerhub', document)));
    expect(answer).toMatchObject({ statusCode: 200, body: '{"message":"no mirror matches"}' });
    expect(messages).toEqual([]);
  });

  test('creates the same messages when it is repeated, and others when it is changed', async () => {
    const ids = async (document: object, requestId: string): Promise<string[]> =>
      (await messagesOf('dockerhub', document, requestId)).map(({ deduplicationId }) => deduplicationId);
    expect(await ids(DOCKERHUB, 'request-2')).toEqual(await ids(DOCKERHUB, 'request-1'));
    const later = { ...DOCKERHUB, push_data: { ...DOCKERHUB.push_data, pushed_at: 1417566162 } };
    expect(await ids(later, 'request-1')).not.toEqual(await ids(DOCKERHUB, 'request-1'));
  });

  test('names in each message the next one, so that the run ends after all of them', async () => {
    const messages = await messagesOf('quay', QUAY, 'request-1');
    expect(messages.map(({ message }) => message.next)).toEqual(
      messages.map((_, at) => messages[(at + 1) % messages.length]?.deduplicationId),
    );
    expect(new Set(messages.map(({ message }) => message.next)).size).toBe(2);
    expect((await messagesOf('dockerhub', DOCKERHUB, 'request-1')).map(({ message }) => message.next)).toEqual([
      undefined,
    ]);
  });

  // Quay's deliveries of two pushes of one tag are identical.
  test('of Quay creates a new run each time', async () => {
    const all = await Promise.all(['request-1', 'request-2'].map((request) => messagesOf('quay', QUAY, request)));
    const ids = all.flat().map(({ deduplicationId }) => deduplicationId);
    expect(new Set(ids).size).toBe(4);
  });

  test('has a run whose name depends on each of its parts', () => {
    expect(runOf('webhook', 'a', 'bc')).not.toBe(runOf('webhook', 'ab', 'c'));
    expect(ordersFor([], CONFIG, 'run')).toEqual([]);
  });
});

describe('the response', () => {
  const logged: unknown[] = [];
  const deps = {
    secrets: () => Promise.resolve(SECRETS),
    config: () => Promise.resolve(CONFIG),
    send: () => Promise.resolve(),
    log: (level: string, message: string, entry: object) => void logged.push({ level, message, ...entry }),
  };
  const good = eventOf(deliveryOf('dockerhub', DOCKERHUB));

  test('is an acceptance once the messages are queued, and the log has the run and no secret', async () => {
    logged.length = 0;
    const sent: Outgoing<ResolveMessage>[] = [];
    const answer = await handleWebhook(good, {
      ...deps,
      send: (messages) => {
        // Nothing is logged as accepted before the queue has accepted it.
        expect(logged).toEqual([]);
        return Promise.resolve(void sent.push(...messages));
      },
    });
    expect(answer.statusCode).toBe(202);
    expect(sent).toHaveLength(1);
    expect(logged).toEqual([
      {
        level: 'info',
        message: 'webhook',
        requestId: 'request-1',
        sender: 'dockerhub',
        run: sent[0]?.message.run,
        items: [{ repository: 'docker.io/svendowideit/testhook', tag: 'latest' }],
        queued: 1,
      },
    ]);
  });

  test.each(GOOD)('never leads to a log line with the secret of %s', async (sender, document) => {
    logged.length = 0;
    const send = (): Promise<void> => Promise.reject(new Error('no queue'));
    const delivery = deliveryOf(sender, document);
    const signature = delivery.headers['x-hub-signature-256'] ?? SECRETS[sender][0];
    const answers = [
      // Accepted, ignored, refused, and not sent.
      await handleWebhook(eventOf(delivery), deps),
      await handleWebhook(eventOf(deliveryOf(sender, { ...document, type: 'x', action: 'x', events: [] })), deps),
      await handleWebhook(eventOf(deliveryOf(sender, '{')), deps),
      await handleWebhook(eventOf(deliveryOf(sender, '{}', { 'content-type': 'text/plain' })), deps),
      await handleWebhook(eventOf(delivery), { ...deps, secrets: () => Promise.resolve({}) }),
      await handleWebhook(eventOf(delivery), { ...deps, send }),
    ];
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([202, expect.any(Number), 400, 415, 403, 503]);
    expect(logged).toHaveLength(answers.length);
    for (const text of [JSON.stringify(logged), JSON.stringify(answers)]) {
      expect(text).not.toContain(SECRETS[sender][0]);
      expect(text).not.toContain(signature);
    }
  });

  test('keeps the upper case of a tag', async () => {
    const document = { ...GITHUB, registry_package: structuredClone(GITHUB.registry_package) };
    document.registry_package.package_version.container_metadata.tag.name = 'RC-1';
    document.registry_package.package_version.package_url = 'ghcr.io/Codertocat/hello-world:RC-1';
    expect((await messagesOf('github', document)).map(({ message }) => message.what)).toEqual([
      { kind: 'images', images: [{ tag: 'RC-1' }] },
    ]);
  });

  test.each([
    ['GET', { method: 'GET' }, 405],
    ['without a proof', { delivery: { ...deliveryOf('dockerhub', DOCKERHUB), path: '/' } }, 401],
    ['too large', { delivery: deliveryOf('dockerhub', 'x'.repeat(MAX_DELIVERY_BYTES + 1)) }, 413],
  ])('to a request %s is a refusal that needs neither secrets nor configuration', async (_, given, status) => {
    const { method = 'POST', delivery = deliveryOf('dockerhub', DOCKERHUB) } = given as Partial<Refused>;
    const event = eventOf(delivery);
    const http = { ...event.requestContext.http, method };
    let reads = 0;
    const read = (): Promise<never> => Promise.reject(new Error(`out of reach ${(reads += 1)}`));
    const answer = await handleWebhook(
      { ...event, requestContext: { ...event.requestContext, http } },
      { ...deps, secrets: read, config: read },
    );
    expect([answer.statusCode, reads]).toEqual([status, 0]);
  });

  test.each([
    ['unproven', deliveryOf('dockerhub', DOCKERHUB, {}), { path: '/hooks/wrong-secret-0123456789' }, 403],
    ['no push', deliveryOf('harbor', { ...HARBOR, type: 'PULL_ARTIFACT' }), {}, 200],
  ])('to a delivery that is %s needs no configuration', async (_, delivery, change, status) => {
    const config = (): Promise<never> => Promise.reject(new Error('mirror.yaml:3:5: typo'));
    const answer = await handleWebhook(eventOf({ ...delivery, ...change }), { ...deps, config });
    expect(answer.statusCode).toBe(status);
  });

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
  ] as const)('is 503 without a reason if the dependency %s fails', async (name, broken) => {
    logged.length = 0;
    const answer = await handleWebhook(good, { ...deps, [name]: broken });
    expect(answer).toEqual({
      statusCode: 503,
      headers: { 'content-type': 'application/json' },
      body: '{"message":"temporarily unavailable; retry later"}',
    });
    expect(logged).toEqual([expect.objectContaining({ level: 'error', reason: expect.any(String) })]);
  });

  test('is a refusal whose log line has the reason, and no secret of the URL or a header', async () => {
    logged.length = 0;
    const delivery = deliveryOf('dockerhub', { ...QUAY });
    expect((await handleWebhook(eventOf(delivery), deps)).statusCode).toBe(403);
    expect((await handleWebhook(eventOf({ ...delivery, path: '/' }), deps)).statusCode).toBe(401);
    expect(logged).toMatchObject([
      { level: 'warn', status: 403, reason: 'the secret is not that of quay' },
      { level: 'warn', status: 401, requestId: 'request-1' },
    ]);
    expect(JSON.stringify(logged)).not.toContain(SECRETS.dockerhub[0]);
  });

  test('is 405 unless the request is a POST', async () => {
    const http = { ...good.requestContext.http, method: 'GET' };
    const answer = await handleWebhook({ ...good, requestContext: { ...good.requestContext, http } }, deps);
    expect(answer).toMatchObject({ statusCode: 405, headers: { allow: 'POST' } });
  });

  test('is the same for text bodies, any case of headers, and a missing body', async () => {
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

interface Refused {
  readonly method: string;
  readonly delivery: Delivery;
}

describe('a message in the run of a notification', () => {
  const message = (order: Partial<Order>, what: ResolveMessage['what']): ResolveMessage =>
    resolveMessage(
      {
        run: 'webhook-1',
        source: 'svendowideit.example/testhook',
        repository: 'docker.io/library/alpine',
        platforms: 'all',
        ...order,
      },
      what,
    ).message;
  const latest = { kind: 'images' as const, images: [{ tag: 'latest' }] };
  const testhook = { source: 'docker.io/svendowideit/testhook', repository: 'docker.io/svendowideit/testhook' };

  test.each([
    ['another source', { source: 'evil.test/x', repository: 'docker.io/svendowideit/testhook' }, latest],
    ['another destination', { ...testhook, repository: 'docker.io/library/alpine' }, latest],
    ['a tag that is not mirrored', testhook, { kind: 'images' as const, images: [{ tag: 'edge' }] }],
    ['a digest alone', testhook, { kind: 'images' as const, images: [{ digest: DIGEST as Digest }] }],
  ])('is not allowed %s', (_, order, what) => {
    expect(allowed(message(order, what), CONFIG)).toBeUndefined();
    expect(allowed(message({ ...order, run: 'ecr-1' }, what), CONFIG)).toBeUndefined();
  });

  test('is reduced to the configuration: tags without digests, and the configured platforms', () => {
    const images = [{ tag: 'latest', digest: DIGEST as Digest }, { tag: 'edge' }];
    const linux = { os: 'linux', architecture: 'amd64' };
    expect(allowed(message(testhook, { kind: 'images', images }), CONFIG)).toEqual(
      message({ ...testhook, platforms: [linux] }, latest),
    );
    // The newest tags are selected from the list, and arrive as slices of the same run.
    const newest = { source: 'quay.io/dgangaia/test', repository: 'quay.io/dgangaia/test' };
    const slice = { kind: 'images' as const, images: [{ tag: '1.0' }] };
    for (const what of [{ kind: 'list' as const }, slice])
      expect(allowed(message(newest, what), CONFIG)).toEqual(message(newest, what));
  });

  test('stays unchanged if the run belongs to a schedule or a request', () => {
    for (const run of ['2026-01-01T00-00-00-000Z-prod', 'request-1']) {
      const one = message({ run, source: 'quay.io/any/thing' }, latest);
      expect(allowed(one, CONFIG)).toBe(one);
    }
  });
});

describe('the push of a referrer', () => {
  const SIG = `${DIGEST.replace(':', '-')}.sig`;
  const repository = 'ghcr.io/codertocat/hello-world';
  const digest = DIGEST as Digest;
  const whats = (items: readonly Pushed[], config = CONFIG): readonly unknown[] =>
    ordersFor(items, config, 'webhook-1').map(({ message }) => message.what);

  test('orders a check of its subject, and not an image, also if the mirror selects all tags', () => {
    expect(whats([{ repository, tag: SIG }])).toEqual([{ kind: 'checks', announced: [{ tag: SIG }] }]);
    expect(whats([{ repository, tag: SIG.slice(0, -4), digest }])).toMatchObject([{ kind: 'checks' }]);
    const both = [{ repository, tag: 'v1' }, ...Array.from({ length: 2 }, () => ({ repository, tag: SIG }))];
    expect(whats(both)).toEqual([
      { kind: 'images', images: [{ tag: 'v1' }] },
      { kind: 'checks', announced: [{ tag: SIG }] },
    ]);
  });

  test('orders a check if it has a digest alone, since it may be a referrer', () => {
    expect(whats([{ repository, digest }])).toEqual([{ kind: 'checks', announced: [{ digest }] }]);
    const { detail } = ECR;
    const event = { ...ECR, detail: { ...detail, 'image-tag': undefined, 'image-digest': DIGEST } };
    expect(decideEcr(event, CONFIG).messages.map(({ message }) => message.what)).toEqual([
      { kind: 'checks', announced: [{ digest }] },
    ]);
  });

  test('orders nothing if the policy mirrors no referrers and requires no signature', () => {
    const config = (policy: string): Config =>
      parseConfig(
        `version: 1\ntrustedRoot: root.json\nmirrors:\n  - { source: ${repository}, tags: all, policy: { ${policy} } }`,
        'mirror.yaml',
      );
    expect(whats([{ repository, tag: SIG }], config('referrers: none'))).toEqual([]);
    const signer = 'signers: [{ identity: a, issuer: b }]';
    expect(whats([{ repository, tag: SIG }], config(`referrers: none, verify: require, ${signer}`))).toHaveLength(1);
  });

  test('is restricted to tags of referrers and digests in a message to the resolver', () => {
    const order = {
      run: 'webhook-1',
      source: repository,
      repository: 'mirror.example.com/hello',
      platforms: 'all' as const,
    };
    const message = (announced: readonly Wanted[]): ResolveMessage =>
      resolveMessage(order, { kind: 'checks', announced }).message;
    expect(allowed(message([{ tag: SIG }, { tag: 'latest' }, { digest }]), CONFIG)).toEqual(
      message([{ tag: SIG }, { digest }]),
    );
    expect(allowed(message([{ tag: 'latest' }]), CONFIG)).toBeUndefined();
    expect(allowed({ ...message([{ tag: SIG }]), source: 'quay.io/other/app' }, CONFIG)).toBeUndefined();
    const due = resolveMessage(order, { kind: 'checks' }).message;
    expect(allowed(due, CONFIG)).toEqual(due);
  });
});

describe('an ECR event', () => {
  // This is the documented event of AWS.
  test('of a push becomes messages', () => {
    const repository = '123456789012.dkr.ecr.us-west-2.amazonaws.com/my-repository-name';
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
  ])('is ignored or refused: %s', (_, event, kind) => {
    expect(translateEcr(event)).toMatchObject({ kind, reason: expect.any(String) });
    expect(decideEcr(event, CONFIG).messages).toEqual([]);
  });

  test('with an invalid tag is refused with the path of the tag', () => {
    const { reason } = translateEcr({ ...ECR, detail: { ...ECR.detail, 'image-tag': 'a b' } }) as { reason: string };
    expect(reason).toBe('read ECR event: detail.image-tag: "a b" is not a tag');
  });

  test.each<[string, readonly string[]]>([
    [
      'us-west-2',
      [
        '123456789012.dkr.ecr.us-west-2.amazonaws.com',
        '123456789012.dkr-ecr.us-west-2.on.aws',
        '123456789012.dkr.ecr-fips.us-west-2.amazonaws.com',
        '123456789012.dkr-ecr-fips.us-west-2.on.aws',
      ],
    ],
    [
      'cn-north-1',
      [
        '123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn',
        '123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn',
        '123456789012.dkr.ecr-fips.cn-north-1.amazonaws.com.cn',
        '123456789012.dkr-ecr-fips.cn-north-1.on.amazonwebservices.com.cn',
      ],
    ],
    ...[
      ['eusc-de-east-1', 'amazonaws.eu'],
      ['us-iso-east-1', 'c2s.ic.gov'],
      ['us-isob-east-1', 'sc2s.sgov.gov'],
      ['us-isof-south-1', 'csp.hci.ic.gov'],
      ['eu-isoe-west-1', 'cloud.adc-e.uk'],
    ].map(([region = '', suffix = '']): [string, readonly string[]] => [
      region,
      ['ecr', 'ecr-fips'].map((service) => `123456789012.dkr.${service}.${region}.${suffix}`),
    ]),
  ])('of %s is about the repository under each name of its registry', (region, hosts) => {
    expect(translateEcr({ ...ECR, region })).toEqual({
      kind: 'pushed',
      sender: 'ecr',
      items: hosts.map((host) => ({ repository: `${host}/my-repository-name`, tag: 'latest' })),
    });
    for (const host of hosts) {
      const config = parseConfig(`version: 1\nmirrors: [{ source: ${host}/my-repository-name, tags: all }]`, 'x');
      expect(decideEcr({ ...ECR, region }, config).messages).toMatchObject([
        { message: { source: `${host}/my-repository-name` } },
      ]);
    }
  });
});
