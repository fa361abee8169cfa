/** The comparison of two images in an archive. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { changesOf } from '../../../lib/changes/changes.ts';
import { readChanges } from '../../../lib/changes/parse.ts';
import { compareImages, type Comparison } from '../../../lib/changes/read.ts';
import { changeLines, changesInShort } from '../../../lib/changes/text.ts';
import { Failure } from '../../../lib/core/failure.ts';
import type { Digest } from '../../../lib/oci/digest.ts';
import { Place } from '../../../lib/oci/document.ts';
import { parsePlatform } from '../../../lib/oci/platform.ts';
import { makeArtifact, makeImage, makeIndex, makeLayer, type Pushable } from '../../kit/images.ts';
import { makeSchema1 } from '../../kit/schema1.ts';

const [BASE, OLD, NEW] = [1, 2, 3].map((seed) => makeLayer({ seed, size: 100 * seed })) as [Layer, Layer, Layer];
type Layer = ReturnType<typeof makeLayer>;

/** The content of images, by digest. */
function contentOf(...images: readonly Pushable[]): Map<Digest, Uint8Array> {
  const all = new Map<Digest, Uint8Array>();
  for (const { digest, manifest, blobs, children } of images)
    for (const [each, bytes] of [[digest, manifest] as const, ...blobs, ...contentOf(...children)])
      all.set(each, bytes);
  return all;
}

interface Compared {
  readonly changes: Awaited<ReturnType<typeof compareImages>>;
  readonly reads: number;
}

async function compared(
  before: Pushable,
  after: Pushable,
  options: { readonly platforms?: Comparison['platforms']; readonly without?: readonly Digest[] } = {},
): Promise<Compared> {
  const content = contentOf(before, after);
  for (const digest of options.without ?? []) content.delete(digest);
  let reads = 0;
  const changes = await compareImages(
    { previous: before.digest, digest: after.digest, platforms: options.platforms ?? 'all' },
    (digest, maxBytes) => {
      reads += 1;
      const bytes = content.get(digest);
      if (bytes !== undefined && bytes.length > maxBytes)
        throw new Failure({ operation: 'read', side: 'archive', code: 'too-large', detail: 'too large' });
      return Promise.resolve(bytes);
    },
  );
  return { changes, reads };
}

function withConfig(config: object, layers = [BASE], platform = 'linux/amd64'): Pushable {
  return makeImage({ layers, platform: parsePlatform(platform), overrides: { config: { config } } });
}

describe('the changes of an image', () => {
  test('have the layers and bytes that both images share, and those that only one has', async () => {
    const { changes } = await compared(makeImage({ layers: [BASE, OLD] }), makeImage({ layers: [BASE, NEW] }));
    expect(changes).toEqual({
      layers: { shared: 1, added: 1, removed: 1 },
      bytes: { shared: BASE.size, added: NEW.size, removed: OLD.size },
      platforms: { added: [], removed: [] },
      settings: [],
    });
  });

  test('have user, entrypoint, command, labels, and names of variables without their values', async () => {
    const before = withConfig({
      User: 'app',
      Cmd: ['serve'],
      Env: ['PATH=/bin', 'TOKEN=secret-1', 'GONE=secret-2'],
      Labels: { version: '1', same: 'x', gone: 'y' },
    });
    const after = withConfig({
      Entrypoint: ['/bin/app'],
      Cmd: ['serve', '--all'],
      Env: ['PATH=/bin', 'TOKEN=secret-3', 'FRESH=secret-4'],
      Labels: { version: '2', same: 'x' },
    });
    const { changes } = await compared(before, after);
    expect(changes.settings).toEqual([
      {
        platforms: ['linux/amd64'],
        user: { from: 'app', to: null },
        entrypoint: { from: null, to: ['/bin/app'] },
        command: { from: ['serve'], to: ['serve', '--all'] },
        environment: { added: ['FRESH'], removed: ['GONE'], changed: ['TOKEN'] },
        labels: [
          { name: 'gone', from: 'y', to: null },
          { name: 'version', from: '1', to: '2' },
        ],
      },
    ]);
    expect(JSON.stringify(changes)).not.toContain('secret');
    expect(changeLines(changes)).toEqual([
      'layers: 1 shared, 0 added, 0 removed',
      `bytes of layers: ${BASE.size} B shared, 0 B added, 0 B removed`,
      'linux/amd64: user: "app" → none',
      'linux/amd64: entrypoint: none → ["/bin/app"]',
      'linux/amd64: command: ["serve"] → ["serve","--all"]',
      'linux/amd64: environment: FRESH added; GONE removed; TOKEN changed',
      'linux/amd64: label gone: "y" → none',
      'linux/amd64: label version: "1" → "2"',
    ]);
  });

  test('compare an index platform by platform, and list platforms with the same difference together', async () => {
    const image = (user: string, platform: string): Pushable => withConfig({ User: user }, [BASE], platform);
    const before = makeIndex([image('a', 'linux/amd64'), image('a', 'linux/arm64'), image('a', 'linux/386')]);
    const after = makeIndex([image('b', 'linux/arm64'), image('b', 'linux/amd64'), image('b', 'linux/s390x')]);
    const { changes } = await compared(before, after);
    expect(changes).toMatchObject({
      platforms: { added: ['linux/s390x'], removed: ['linux/386'] },
      settings: [{ platforms: ['linux/amd64', 'linux/arm64'], user: { from: 'a', to: 'b' } }],
    });
    expect(changesInShort(changes)).toBe(
      '1 layer shared, 0 added, 0 removed; platforms linux/s390x added; linux/386 removed; different user',
    );
    // The order of the children is another digest, and no difference.
    const [one, two] = [image('a', 'linux/amd64'), image('a', 'linux/arm64')];
    const same = await compared(makeIndex([one, two]), makeIndex([two, one]));
    expect(same.changes).toMatchObject({ platforms: { added: [], removed: [] }, settings: [] });
    expect(same.reads).toBe(6);
  });

  test('compare only the mirrored platforms, and revisions of one Windows build with each other', async () => {
    const [amd, arm] = [withConfig({}, [BASE], 'linux/amd64'), withConfig({}, [OLD], 'linux/arm64')];
    const wanted = [parsePlatform('linux/amd64')];
    const index = await compared(makeIndex([amd, arm]), makeIndex([amd]), { platforms: wanted, without: [arm.digest] });
    expect(index.changes).toEqual({
      layers: { shared: 1, added: 0, removed: 0 },
      bytes: { shared: BASE.size, added: 0, removed: 0 },
      platforms: { added: [], removed: [] },
      settings: [],
    });
    const windows = (revision: number, user: string): Pushable =>
      makeIndex([withConfig({ User: user }, [BASE], `windows(10.0.20348.${revision})/amd64`)]);
    const { changes } = await compared(windows(1, 'a'), windows(2, 'b'));
    expect(changes.platforms).toEqual({ added: [], removed: [] });
    expect(changes.settings).toMatchObject([{ user: { from: 'a', to: 'b' } }]);
  });

  test('compare an image with an index that has its platform', async () => {
    const amd = withConfig({ User: 'a' });
    const after = makeIndex([withConfig({ User: 'b' }), withConfig({}, [NEW], 'linux/arm64')]);
    const { changes } = await compared(amd, after);
    expect(changes).toMatchObject({
      layers: { shared: 1, added: 1, removed: 0 },
      platforms: { added: ['linux/arm64'], removed: [] },
      settings: [{ platforms: ['linux/amd64'], user: { from: 'a', to: 'b' } }],
    });
  });

  test('of schema 1 have layers and settings, but no bytes', async () => {
    const old = (user: string, layers: Layer[]): Pushable =>
      makeSchema1({ layers, v1: (at) => (at === layers.length - 1 ? { config: { User: user } } : {}) });
    const { changes } = await compared(old('a', [BASE, OLD]), old('b', [BASE, NEW]));
    expect(changes).toEqual({
      layers: { shared: 1, added: 1, removed: 1 },
      platforms: { added: [], removed: [] },
      settings: [{ platforms: ['linux/amd64'], user: { from: 'a', to: 'b' } }],
    });
  });

  test('of artifacts have their blobs only', async () => {
    const [one, two] = [makeArtifact({ blobs: [Buffer.from('one')] }), makeArtifact({ blobs: [Buffer.from('two')] })];
    const { changes } = await compared(one, two);
    expect(changes).toMatchObject({ layers: { shared: 0, added: 1, removed: 1 }, settings: [] });
    expect(changes).not.toHaveProperty('notes');
  });

  test('name an image that the archive lacks, and one that cannot be parsed', async () => {
    const [before, after] = [makeImage({ layers: [BASE] }), makeImage({ layers: [NEW] })];
    const lacking = await compared(before, after, { without: [before.digest] });
    expect(lacking.changes.notes).toEqual([`${before.digest} is not in the archive`]);
    expect(lacking.changes.layers).toEqual({ shared: 0, added: 0, removed: 0 });
    const odd = { ...before, manifest: Buffer.from('{}') };
    expect((await compared(odd, after)).changes.notes).toEqual([
      expect.stringMatching(new RegExp(`^${before.digest} cannot be compared: it is not a manifest`)),
    ]);
  });
});

describe('the comparison of hostile images', () => {
  test('reads at most 78 objects', async () => {
    const many = (user: string): Pushable =>
      makeIndex(
        Array.from({ length: 60 }, (_, at) =>
          makeIndex([withConfig({ User: user }, [BASE], `linux/arch${at}`)]),
        ).concat(Array.from({ length: 60 }, (_, at) => withConfig({ User: user }, [BASE], `linux/other${at}`))),
      );
    const { changes, reads } = await compared(many('a'), many('b'));
    expect(reads).toBeLessThanOrEqual(78);
    expect(changes.settings).toMatchObject([{ platforms: { length: 16 } }]);
    expect(changes.notes).toEqual(['some nested indexes are not compared', '16 of 64 platforms are compared']);
  });

  test('has at most 24 KiB of JSON for texts and lists of any size', async () => {
    const wild = (seed: string, platform: string): Pushable =>
      withConfig(
        {
          User: '\u0007'.repeat(5_000) + seed,
          Entrypoint: Array.from({ length: 100 }, (_, at) => `"${seed}`.repeat(100) + platform + String(at)),
          Env: Array.from({ length: 300 }, (_, at) => `${seed}${platform}${at}${'\\'.repeat(99)}=1`),
          Labels: Object.fromEntries(
            Array.from({ length: 300 }, (_, at) => [`${seed}${platform}${at}`, '\n'.repeat(99)]),
          ),
        },
        [BASE],
        platform,
      );
    const index = (seed: string): Pushable =>
      makeIndex(Array.from({ length: 16 }, (_, at) => wild(seed, `linux/arch${at}`)));
    const { changes } = await compared(index('a'), index('b'));
    expect(Buffer.byteLength(JSON.stringify(changes))).toBeLessThanOrEqual(24 * 1024);
    expect(changes.settings.length).toBeGreaterThan(0);
    expect(changes.notes?.at(-1)).toMatch(/of 16 changes of settings are left out$/);
    const one = await compared(wild('a', 'linux/amd64'), wild('b', 'linux/amd64'));
    expect(Buffer.byteLength(JSON.stringify(one.changes))).toBeLessThanOrEqual(24 * 1024);
    expect(one.changes.settings[0]?.omitted).toBeGreaterThan(500);
  });

  const value = fc.oneof(fc.jsonValue(), fc.array(fc.string()), fc.dictionary(fc.string(), fc.string()));
  const config = fc.record(
    { User: value, Entrypoint: value, Cmd: value, Env: value, Labels: value },
    { requiredKeys: [] },
  );

  test('does not fail for configs of any types, and a report with the result is read back', async () => {
    await fc.assert(
      fc.asyncProperty(config, config, async (one, two) => {
        const { changes } = await compared(withConfig(one), withConfig(two));
        const place = Place.ofBytes('read', Buffer.from(JSON.stringify(changes)));
        expect(readChanges(place)).toEqual(JSON.parse(JSON.stringify(changes)));
        const [a, b] = [one, two].map((each) => JSON.stringify(each));
        if (a === b) expect(changes.settings).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });
});

test('a temporary error of the archive rejects the comparison', async () => {
  const failing = (): Promise<never> =>
    Promise.reject(new Failure({ operation: 'read', side: 'archive', code: 'network', detail: 'reset' }));
  const [previous, digest] = [makeImage({ layers: [BASE] }).digest, makeImage({ layers: [NEW] }).digest];
  await expect(compareImages({ previous, digest, platforms: 'all' }, failing)).rejects.toMatchObject({
    code: 'network',
  });
});

test('nothing differs between no images', () => {
  expect(changesOf([], [], [])).toMatchObject({ layers: { shared: 0 }, settings: [] });
});
