import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { type Delivery, MAX_DELIVERY_BYTES, MAX_PUSHED, SENDERS } from '../../../lib/webhook/delivery.ts';
import { signatureOf } from '../../../lib/webhook/proof.ts';
import { translate } from '../../../lib/webhook/translate.ts';
import {
  deliveryOf,
  DIGEST,
  DISTRIBUTION,
  distributionEvent,
  DOCKERHUB,
  GITHUB,
  GOOD,
  HARBOR,
  QUAY,
  SECRETS,
} from './samples.ts';

/** The same delivery without anything that proves its sender. */
function unproven({ headers, body }: Delivery): Delivery {
  const { authorization: _, 'x-hub-signature-256': __, ...others } = headers;
  return { headers: others, body, path: '/', query: '' };
}

/** The same delivery with another secret of the same form. */
function forged({ headers, body, path = '', query = '' }: Delivery): Delivery {
  const wrong = (text: string): string => text.replace('secret-0123456789', 'secret-0123456788');
  const signature = headers['x-hub-signature-256'];
  return {
    headers: {
      ...headers,
      ...(headers['authorization'] === undefined ? {} : { authorization: wrong(headers['authorization']) }),
      ...(signature === undefined ? {} : { 'x-hub-signature-256': signatureOf(body, wrong(SECRETS.github[0])) }),
    },
    body,
    path: wrong(path),
    query: wrong(query),
  };
}

describe.each(GOOD)('a delivery of %s', (sender, document, items) => {
  const good = deliveryOf(sender, document);

  test('of a push has the pushed repository and tags', () => {
    expect(translate(good, SECRETS)).toEqual({ kind: 'pushed', sender, items });
  });

  test('without a proof of its sender is refused', () => {
    expect(translate(unproven(good), SECRETS)).toMatchObject({ kind: 'refused', status: 401 });
  });

  // The secret differs in its last character.
  test('with another secret is refused', () => {
    expect(translate(forged(good), SECRETS)).toMatchObject({ kind: 'refused', status: 403 });
  });

  test('is refused if the sender has no secret', () => {
    const { [sender]: _, ...others } = SECRETS;
    expect(translate(good, others)).toMatchObject({ kind: 'refused', status: 403 });
    expect(translate(good, { ...others, [sender]: [] })).toMatchObject({ kind: 'refused', status: 403 });
  });

  test('is accepted with the new and with the old secret during a change', () => {
    const both = { [sender]: ['another-secret-0123456789', ...SECRETS[sender]] };
    expect(translate(good, both)).toMatchObject({ kind: 'pushed' });
  });

  test('with the document of another sender is refused', () => {
    for (const [other, foreign] of GOOD) {
      if (other === sender) continue;
      const { ['x-github-event']: _, ...headers } = deliveryOf(sender, foreign).headers;
      const verdict = translate({ ...deliveryOf(sender, foreign), headers }, { [sender]: SECRETS[sender] });
      expect(verdict).toMatchObject({ kind: 'refused', status: other === 'github' ? 400 : 403 });
    }
  });

  test.each([
    ['too large', 'x'.repeat(MAX_DELIVERY_BYTES + 1), {}, 413],
    ['a form', 'payload=%7B%7D', { 'content-type': 'application/x-www-form-urlencoded' }, 415],
    ['without a type', '{}', { 'content-type': undefined }, 415],
    ['not JSON', '{"a":', {}, 400],
    ['not UTF-8', Uint8Array.of(0x22, 0xff, 0x22), {}, 400],
    ['not an object', '[]', {}, 400],
    ['null', 'null', {}, 400],
    ['deeply nested', '['.repeat(100_000) + ']'.repeat(100_000), {}, 400],
    ['cut', JSON.stringify(document).slice(0, -1), {}, 400],
  ])('with a proof is refused if the body is %s', (_, body, headers, status) => {
    expect(translate(deliveryOf(sender, body, headers), SECRETS)).toMatchObject({ kind: 'refused', status });
  });

  test('with an invalid field never throws', () => {
    const paths = pathsOf(document);
    const values = fc.constantFrom<unknown>(
      null,
      0,
      '',
      'a b',
      '../x',
      [],
      {},
      [1],
      { a: 1 },
      '\u001b[31m',
      'x'.repeat(999),
    );
    fc.assert(
      fc.property(fc.constantFrom(...paths), values, (path, value) => {
        const verdict = translate(deliveryOf(sender, replaced(document, path, value)), SECRETS);
        if (verdict.kind === 'pushed') return;
        expect(verdict.reason).toMatch(/^[\x20-\x7e…]+$/);
        if (verdict.kind === 'refused') expect(verdict.status).toBe(400);
      }),
    );
  });
});

describe('github', () => {
  // The signature covers the body.
  test('refuses a changed body', () => {
    const good = deliveryOf('github', GITHUB);
    const body = Buffer.concat([good.body, Buffer.from(' ')]);
    expect(translate({ ...good, body }, SECRETS)).toMatchObject({ status: 403 });
    const weaker = { ...good.headers, 'x-hub-signature-256': undefined, 'x-hub-signature': 'sha1=abc' };
    expect(translate({ ...good, headers: weaker }, SECRETS)).toMatchObject({ status: 401 });
  });

  test.each([
    ['a ping', { zen: 'Keep it logically awesome.' }, { 'x-github-event': 'ping' }, /"ping" is not about a package/],
    ['a deletion', { ...GITHUB, action: 'deleted' }, {}, /was "deleted"/],
    [
      'an npm package',
      { ...GITHUB, registry_package: { package_version: { package_url: '' } } },
      {},
      /not a container image/,
    ],
  ])('ignores %s', (_, document, headers, reason) => {
    expect(translate(deliveryOf('github', document, headers), SECRETS)).toEqual({
      kind: 'ignored',
      reason: expect.stringMatching(reason),
    });
  });

  // The older event has the same fields in another place, an image pushed by digest has an empty tag, and a port is
  // not a tag.
  test('accepts package events, and has no tag for a package without one', () => {
    const { registry_package: original, ...rest } = GITHUB;
    const version = {
      package_url: 'containers.github.example.com:8443/Team/App:',
      container_metadata: { tag: { name: '', digest: DIGEST } },
    };
    const document = { ...rest, action: 'updated', package: { ...original, package_version: version } };
    expect(translate(deliveryOf('github', document, { 'x-github-event': 'package' }), SECRETS)).toMatchObject({
      items: [{ repository: 'containers.github.example.com:8443/team/app', digest: DIGEST }],
    });
  });
});

describe('the signed time of github', () => {
  const now = Date.UTC(2026, 0, 1, 12);
  const minutes = (count: number): string => new Date(now + count * 60_000).toISOString();
  const at = (item: unknown, version?: unknown) => {
    const { registry_package: original } = GITHUB;
    const { package_version } = original;
    const changed = { ...original, updated_at: item, package_version: { ...package_version, updated_at: version } };
    return translate(deliveryOf('github', { ...GITHUB, registry_package: changed }), SECRETS, now);
  };

  test.each([
    ['older than 10 minutes', minutes(-11), undefined],
    ['of a version older than 10 minutes', undefined, minutes(-11)],
    ['in the future', minutes(11), undefined],
  ])('refuses a delivery that is %s', (_, item, version) => {
    expect(at(item, version)).toMatchObject({
      kind: 'refused',
      status: 403,
      reason: expect.stringMatching(/expected within 10 minutes of now/),
    });
  });

  test.each([
    ['is now', minutes(0), undefined],
    ['is nine minutes ago', minutes(-9), undefined],
    ['is of an old package with a new version', minutes(-9_999), minutes(-1)],
    ['is not given', null, undefined],
    ['cannot be read', 'yesterday', undefined],
  ])('accepts a delivery whose time %s', (_, item, version) => {
    expect(at(item, version)).toMatchObject({ kind: 'pushed' });
  });
});

describe('hostile names', () => {
  test('are read in linear time, such as a package URL of 200,000 colons', () => {
    const { registry_package: original } = GITHUB;
    const read = (count: number): number => {
      let steps = 0;
      const split = vi.spyOn(RegExp.prototype, Symbol.split).mockImplementation(() => {
        steps += 1;
        return [];
      });
      try {
        const package_version = { ...original.package_version, package_url: `a/${':'.repeat(count)}/` };
        const document = { ...GITHUB, registry_package: { ...original, package_version } };
        expect(translate(deliveryOf('github', document), SECRETS)).toMatchObject({ kind: 'refused', status: 400 });
      } finally {
        split.mockRestore();
      }
      return steps;
    };
    // A regular expression would look ahead from each colon.
    expect(read(200_000)).toBe(0);
  });
});

describe('harbor', () => {
  test('has no tag for a push by digest', () => {
    const resource = { digest: DIGEST, tag: DIGEST, resource_url: `localhost/harbor/alpine@${DIGEST}` };
    const document = { ...HARBOR, event_data: { resources: [resource] } };
    expect(translate(deliveryOf('harbor', document), SECRETS)).toMatchObject({
      items: [{ repository: 'localhost/harbor/alpine', digest: DIGEST }],
    });
  });

  test.each(['PULL_ARTIFACT', 'DELETE_ARTIFACT', 'SCANNING_COMPLETED', 'REPLICATION'])('ignores %s', (type) => {
    expect(translate(deliveryOf('harbor', { ...HARBOR, type }), SECRETS)).toMatchObject({ kind: 'ignored' });
  });
});

describe('quay', () => {
  // Quay's other notifications also name the repository.
  test('ignores a build', () => {
    const { updated_tags: _, ...others } = QUAY;
    expect(translate(deliveryOf('quay', { ...others, docker_tags: ['a'] }), SECRETS)).toMatchObject({
      kind: 'ignored',
    });
  });
});

describe('dockerhub', () => {
  test('accepts an official image without a namespace, with the secret in the query or the path', () => {
    const document = { ...DOCKERHUB, repository: { repo_name: 'alpine' } };
    const delivery = { ...deliveryOf('dockerhub', document), path: '/', query: `a=b&secret=${SECRETS.dockerhub[0]}` };
    expect(translate(delivery, SECRETS)).toMatchObject({ items: [{ repository: 'docker.io/library/alpine' }] });
  });
});

describe('distribution', () => {
  test.each([
    ['pulls only', [distributionEvent('pull', {})]],
    ['layers only', [distributionEvent('push', { mediaType: 'application/octet-stream' })]],
    ['nothing', []],
  ])('ignores %s', (_, events) => {
    expect(translate(deliveryOf('distribution', { events }), SECRETS)).toMatchObject({ kind: 'ignored' });
  });

  test('takes the host of the request if an old registry sends none', () => {
    const events = [distributionEvent('push', { url: undefined, repository: 'team/app' })];
    expect(translate(deliveryOf('distribution', { events }), SECRETS)).toMatchObject({
      items: [{ repository: '192.168.100.227:5000/team/app' }],
    });
  });
});

describe('all senders', () => {
  test('have a limit on the pushes of a delivery, before the list is read', () => {
    const many = <T>(one: T): T[] => Array.from({ length: MAX_PUSHED + 1 }, () => one);
    const resources = many(HARBOR.event_data.resources[0]);
    for (const delivery of [
      deliveryOf('quay', { ...QUAY, updated_tags: many('a') }),
      deliveryOf('harbor', { ...HARBOR, event_data: { resources } }),
      deliveryOf('distribution', { events: many(DISTRIBUTION.events[0]) }),
    ])
      expect(translate(delivery, SECRETS)).toMatchObject({ kind: 'refused', status: 413 });
  });

  test('get no parsing without the secret, and responses without secrets', () => {
    const strings = fc.oneof(fc.string(), fc.constantFrom('', 'Bearer', 'Bearer ', 'sha256=', '%', '%zz', 'secret='));
    const names = fc.constantFrom('authorization', 'x-hub-signature-256', 'x-github-event', 'content-type');
    fc.assert(
      fc.property(fc.dictionary(names, strings), fc.uint8Array(), strings, strings, (headers, body, path, query) => {
        const verdict = translate({ headers, body, path: `/${path}`, query }, SECRETS);
        expect(verdict).toMatchObject({
          kind: 'refused',
          status: expect.toSatisfy((status) => status === 401 || status === 403),
        });
        for (const sender of SENDERS) expect(JSON.stringify(verdict)).not.toContain(SECRETS[sender][0]);
      }),
    );
  });
});

type Path = readonly (string | number)[];

function pathsOf(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, inner]) => pathsOf(inner, [...path, key]))].filter(
    ({ length }) => length > 0,
  );
}

function replaced(document: object, path: Path, value: unknown): unknown {
  const copy: unknown = structuredClone(document);
  let place = copy as Record<string | number, unknown>;
  for (const key of path.slice(0, -1)) place = place[key] as Record<string | number, unknown>;
  place[path.at(-1) ?? ''] = value;
  return copy;
}
