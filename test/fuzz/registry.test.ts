import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseDockerConfig } from '../../lib/registry/auth/credentials.ts';
import { makeImage, makeIndex, makeLayer, type Pushable } from '../kit/images.ts';
import { inspectStore } from '../kit/invariants.ts';
import { MemoryStore } from '../kit/memory-store.ts';
import { mirror } from '../kit/mirror.ts';
import { budget, CASES, HANG_MS } from './budget.ts';
import { hostileTexts } from './texts.ts';
import { type Act, type AuthKind, type Fault, SECRET, startRecorder, startWildRegistry } from './wild-registry.ts';

/** Parts so small that a layer has several, and so is fetched in ranges. */
const PART_BYTES = 400;
const STALL_MS = 25;
/** Faults of one run: a case is a fault, so that CASES are drawn in CASES / FAULTS runs. */
const FAULTS = 4;
/** A run that takes this long hangs. */
const RUN_MS = 30_000;

const amd64 = makeImage({
  layers: [makeLayer({ size: 700 }), makeLayer({ seed: 2, compression: 'zstd', size: 100 })],
});
const arm64 = makeImage({
  layers: [makeLayer({ size: 700 }), makeLayer({ seed: 3, compression: 'none', size: 100 })],
  platform: { os: 'linux', architecture: 'arm64' },
});
const images = new Map<string, Pushable>([
  ['1', amd64],
  ['2', makeIndex([amd64, arm64])],
]);

const HEADERS = [
  ...['content-length', 'transfer-encoding', 'content-encoding', 'content-range', 'content-type', 'content-location'],
  ...['docker-content-digest', 'location', 'link', 'www-authenticate', 'retry-after', 'etag', 'connection', 'date'],
  ...['ratelimit-limit', 'ratelimit-remaining', 'set-cookie', 'x-filler', 'trailer', 'upgrade', 'keep-alive'],
];

function acts(self: string, other: string): fc.Arbitrary<Act> {
  const addresses = [
    ...[`http://${other}/token`, `//${other}/x`, `http://${self}/v2/`, `https://${other}/`, '/loop', '', '\\\\x'],
    ...[
      'http://169.254.169.254/latest/meta-data/',
      'http://[::ffff:0:0]/',
      `http://user:pass@${other}/`,
      'file:///etc/passwd',
    ],
  ];
  const values = hostileTexts([
    ...['0', '5', '999999', 'chunked', 'gzip', 'identity', 'bytes 0-9/10', 'bytes 600-1199/9999', 'close', '1', '3600'],
    ...[`Bearer realm="http://${other}/token",service="s",scope="repository:prod/x:pull,push registry:catalog:*"`],
    ...[
      `Bearer realm="http://${self}/token",service="s"`,
      'Basic realm="x"',
      'Negotiate',
      `<//${other}/v2/a?n=5>; rel="next"`,
    ],
    ...[
      `sha256:${'0'.repeat(64)}`,
      'application/vnd.oci.image.index.v1+json',
      'text/html',
      'W/"x"',
      '"y"',
      ...addresses,
    ],
  ]);
  const bodies = hostileTexts([
    amd64.manifest.toString(),
    images.get('2')?.manifest.toString() ?? '',
    JSON.stringify({ name: 'team/app', tags: ['1', '2'] }),
    JSON.stringify({ token: SECRET.token }),
    `{"errors":[{"code":"DENIED","message":"you sent Basic ${Buffer.from(`${SECRET.user}:${SECRET.password}`).toString('base64')}"}]}`,
    `you sent ${SECRET.password} and ${SECRET.token}`,
  ]);
  const statuses = fc.constantFrom(
    200,
    201,
    204,
    206,
    301,
    304,
    307,
    400,
    401,
    403,
    404,
    405,
    406,
    408,
    416,
    421,
    429,
    451,
    500,
    502,
    503,
    504,
    999,
  );
  return fc.oneof(
    fc.record({ do: fc.constant('status' as const), status: statuses, text: bodies }),
    fc.record({ do: fc.constant('header' as const), name: fc.constantFrom(...HEADERS), value: values }),
    fc.record({ do: fc.constant('drop-header' as const), name: fc.constantFrom(...HEADERS) }),
    fc.record({
      do: fc.constant('body' as const),
      how: fc.constantFrom('truncate' as const, 'flip' as const, 'empty' as const, 'longer' as const, 'gzip' as const),
    }),
    fc.record({ do: fc.constant('text' as const), text: bodies }),
    fc.record({
      do: fc.constant('socket' as const),
      how: fc.constantFrom('reset' as const, 'close' as const, 'cut' as const, 'noise' as const, 'drip' as const),
    }),
    fc.record({
      do: fc.constant('redirect' as const),
      status: fc.constantFrom(301, 302, 303, 307, 308),
      to: fc.constantFrom(...addresses),
    }),
  );
}

function faults(act: fc.Arbitrary<Act>): fc.Arbitrary<readonly Fault[]> {
  // A stall costs real time, so that few cases have one.
  const stall = fc.constant<Act>({ do: 'socket', how: 'stall' });
  const nothing = fc.constant<Act>({ do: 'nothing' });
  return fc.array(
    fc.record({
      kind: fc.constantFrom(
        'any' as const,
        'manifest' as const,
        'blob' as const,
        'tags' as const,
        'token' as const,
        'ping' as const,
      ),
      after: fc.nat(4),
      times: fc.constantFrom(1, 1, 2, Infinity),
      act: fc.oneof(
        { weight: 15, arbitrary: nothing },
        { weight: 60, arbitrary: act },
        { weight: 1, arbitrary: stall },
      ),
    }),
    { minLength: FAULTS, maxLength: FAULTS },
  );
}

/** All texts in a value, keys included. */
function* textsOf(value: unknown): Generator<string> {
  if (typeof value === 'string') yield value;
  else if (typeof value === 'object' && value !== null)
    for (const [key, member] of Object.entries(value)) {
      yield key;
      yield* textsOf(member);
    }
}

const LEAKS = [
  SECRET.password,
  SECRET.token,
  Buffer.from(`${SECRET.user}:${SECRET.password}`).toString('base64'),
  Buffer.from(SECRET.password).toString('base64').replace(/=+$/, '').slice(0, -1),
];

function credentialsFor(host: string): ReturnType<typeof parseDockerConfig> {
  const auth = Buffer.from(`${SECRET.user}:${SECRET.password}`).toString('base64');
  return parseDockerConfig(JSON.stringify({ auths: { [host]: { auth } } }), 'config.json');
}

describe('a mirror of a registry with random responses', () => {
  test(
    'ends every image with a result, proves all reachable content, and leaks nothing',
    { timeout: HANG_MS },
    async () => {
      await using registry = await startWildRegistry(images);
      await using other = await startRecorder();
      const { host } = registry;
      const wanted = [`${host}/team/app:1`, `${host}/team/app:2`];
      const run = async (auth: AuthKind, plan: readonly Fault[], listing: boolean): Promise<readonly string[]> => {
        registry.behave(auth, plan);
        const store = new MemoryStore({ limits: { usualPartBytes: PART_BYTES } });
        const { outcomes, events } = await mirror({
          store,
          references: listing ? [`${host}/team/app`] : wanted,
          signal: AbortSignal.timeout(RUN_MS),
          // Its address says that it speaks plain HTTP, which spares each run a TLS handshake that fails.
          registry: {
            credentials: credentialsFor(host),
            endpoints: { [host]: [`http://${host}`] },
            limits: { stallMs: STALL_MS },
          },
        });
        const { violations } = await inspectStore(store);
        expect(violations).toEqual([]);
        for (const { status, reason } of outcomes) {
          expect(['mirrored', 'failed']).toContain(status);
          if (status === 'failed') expect(reason).toMatch(/\w/);
          expect(reason ?? '').not.toContain('no word');
        }
        const asked = outcomes.map(({ reference }) => reference);
        if (!listing) expect(asked.toSorted()).toEqual(wanted);
        // A registry may say that there are no tags.
        else if (asked.length === 0)
          expect(events).toContainEqual(expect.objectContaining({ type: 'listed', tags: [] }));
        for (const text of textsOf([events, outcomes])) {
          expect(text).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
          // A registry without authentication was sent no secret: a secret that it repeats is not ours.
          if (auth !== 'none') for (const leak of LEAKS) expect(text).not.toContain(leak);
        }
        const stolen = other.taken();
        for (const leak of [...LEAKS, 'uthorization']) expect(stolen).not.toContain(leak);
        return outcomes.map(({ status }) => status);
      };
      for (const auth of ['none', 'basic', 'bearer'] as const)
        for (const listing of [false, true]) expect(await run(auth, [], listing)).toEqual(['mirrored', 'mirrored']);
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom('none' as const, 'basic' as const, 'bearer' as const),
          faults(acts(host, other.host)),
          fc.boolean(),
          async (auth, plan, listing) => {
            await run(auth, plan, listing);
          },
        ),
        { ...budget(), numRuns: Math.ceil(CASES / FAULTS) },
      );
    },
  );
});
