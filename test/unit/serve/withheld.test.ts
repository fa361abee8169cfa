/** Images that a policy withholds: clients cannot pull them, and nothing is ordered for them. */
import { beforeEach, describe, expect, test } from 'vitest';
import { withDecisionIn, withPolicy } from '../../../lib/archive/tag-index/withheld.ts';
import { defined } from '../../../lib/core/defined.ts';
import type { Decision } from '../../../lib/policy/decisions.ts';
import { NO_POLICY, type Policy } from '../../../lib/policy/policy.ts';
import type { MissingTag } from '../../../lib/serve/served.ts';
import { makeImage, makeIndex, makeLayer } from '../../kit/images.ts';
import { bytesOf, refusal, Served } from './served.ts';

const NAME = 'docker.io/library/alpine';
const DAY = 86_400_000;
const OLD = makeImage({ layers: [makeLayer({ seed: 1 })] });
const CHILD = makeImage({ layers: [makeLayer({ seed: 2 })] });
const NEW = makeIndex([CHILD]);
const DOUBTED = makeImage({ layers: [makeLayer({ seed: 3 })] });
const AGE: Policy = { ...NO_POLICY, minimumAgeMs: 7 * DAY };

let served: Served;
let now: number;

beforeEach(async () => {
  served = new Served();
  now = Date.now();
  await served.add(NAME, OLD, 'old', now - 30 * DAY);
});

async function use(policy: Policy): Promise<void> {
  await served.archive.updatePolicy(NAME, (index) => withPolicy(index, policy));
}

async function messageOf(response: Response): Promise<string> {
  const { errors } = (await response.json()) as { errors: readonly { readonly message: string }[] };
  return errors[0]?.message ?? '';
}

async function orderFor(target: string): Promise<MissingTag | undefined> {
  return (await served.registry.serve(new Request('http://registry.example/'), target)).missingTag;
}

describe('a held image', () => {
  const until = (): string => new Date(now + 6 * DAY).toISOString();

  beforeEach(async () => {
    await use(AGE);
    await served.add(NAME, NEW, 'new', now - DAY);
  });

  test.each(['new', NEW.digest])('is refused with the end of its period as %s', async (reference) => {
    const target = `/v2/${NAME}/manifests/${reference}`;
    expect(await refusal(await served.get(target))).toBe('403 DENIED');
    expect(await messageOf(await served.get(target))).toContain(`is held until ${until()} (minimum age)`);
    expect((await served.get(target, {}, 'HEAD')).status).toBe(403);
    expect(await orderFor(target)).toBeUndefined();
  });

  test('is neither listed as a tag nor in an earlier state', async () => {
    expect(await (await served.get(`/v2/${NAME}/tags/list`)).json()).toEqual({ name: NAME, tags: ['old'] });
    const past = new Date(now)
      .toISOString()
      .replaceAll(/[-:]|\.\d+/g, '')
      .toLowerCase();
    expect(await refusal(await served.get(`/v2/at-${past}/${NAME}/manifests/new`))).toBe('404 MANIFEST_UNKNOWN');
  });

  test('is listed on the page of its repository, without a link', async () => {
    const page = await (await served.get(`/${NAME}`, { host: 'archive.example' })).text();
    expect(page).toContain('Withheld images');
    expect(page).toContain(`datetime="${until()}"`);
    expect(page).not.toContain(`${NAME}:new"`);
  });

  test('is visible under a tag that had it before the policy', async () => {
    await use(NO_POLICY);
    await served.tag(NAME, NEW, ['before'], now - DAY);
    await use(AGE);
    for (const reference of ['before', NEW.digest])
      expect(await bytesOf(await served.get(`/v2/${NAME}/manifests/${reference}`))).toEqual(NEW.manifest);
  });

  test('is sent once a person has released it', async () => {
    await served.archive.updatePolicy(NAME, (index) =>
      withDecisionIn(index, { action: 'release', tag: 'new', digest: NEW.digest, by: 'ann', at: now, reason: 'fix' }),
    );
    expect(await bytesOf(await served.get(`/v2/${NAME}/manifests/new`))).toEqual(NEW.manifest);
  });
});

describe('an image without the required signature', () => {
  test.each(['doubted', DOUBTED.digest])('is unknown with the reason, and is not ordered, as %s', async (reference) => {
    await use({
      ...NO_POLICY,
      verify: 'require',
      signers: [{ identity: 'a@example.com', issuer: 'https://id.example' }],
    });
    const { digest, mediaType, manifest } = DOUBTED;
    const descriptor = { digest, mediaType, size: manifest.length };
    const change = { tag: 'doubted', descriptor, observed: now, platforms: 'all' as const };
    await served.archive.updateTags(NAME, [{ ...change, unverified: 'no signature was found' }]);
    const target = `/v2/${NAME}/manifests/${reference}`;
    expect(await refusal(await served.get(target))).toBe('404 MANIFEST_UNKNOWN');
    expect(await messageOf(await served.get(target))).toContain('is not verified: no signature was found');
    expect(await orderFor(target)).toBeUndefined();
  });
});

describe('a rejected image', () => {
  const decide = (action: Decision['action'], tag?: string): Promise<unknown> =>
    served.archive.updatePolicy(NAME, (index) =>
      withDecisionIn(index, defined({ action, tag, digest: OLD.digest, by: 'ann', at: now, reason: 'malware' })),
    );

  test.each(['old', OLD.digest])('is unknown, and is not ordered, as %s', async (reference) => {
    const target = `/v2/${NAME}/manifests/${reference}`;
    expect((await served.get(target)).status).toBe(200);
    await decide('reject', 'old');
    expect(await refusal(await served.get(target))).toBe('404 MANIFEST_UNKNOWN');
    expect(await messageOf(await served.get(target))).toContain('was rejected');
    expect(await orderFor(target)).toBeUndefined();
  });

  test('is ordered again after a release of its digest', async () => {
    await decide('reject', 'old');
    await decide('release');
    expect(await orderFor(`/v2/${NAME}/manifests/old`)).toEqual({ repositories: [NAME], tag: 'old' });
    const byDigest = await served.get(`/v2/${NAME}/manifests/${OLD.digest}`);
    expect(await messageOf(byDigest)).not.toContain('was rejected');
  });
});

test('a tag that the archive does not know is ordered as before', async () => {
  await use(AGE);
  expect(await orderFor(`/v2/${NAME}/manifests/other`)).toEqual({ repositories: [NAME], tag: 'other' });
});
