import { userInfo } from 'node:os';
import { beforeEach, describe, expect, test } from 'vitest';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { memberOf } from '../../../lib/archive/members.ts';
import { withheldList, withPolicy } from '../../../lib/archive/tag-index/withheld.ts';
import { parseReference } from '../../../lib/oci/reference.ts';
import { NO_POLICY } from '../../../lib/policy/policy.ts';
import { type Decided, decideImage } from '../../../lib/upkeep/decide.ts';
import type { Ended } from '../../kit/command-line.ts';
import { jsonLines } from '../../kit/command-line.ts';
import { makeImage, makeIndex, makeLayer } from '../../kit/images.ts';
import { runMain } from '../../kit/in-process.ts';
import { openScene } from '../../kit/scene.ts';
import { Served } from '../serve/served.ts';

const NAME = 'docker.io/library/alpine';
const DAY = 86_400_000;
const OLD = makeImage({ layers: [makeLayer({ seed: 1 })] });
const CHILD = makeImage({ layers: [makeLayer({ seed: 2 })] });
const NEW = makeIndex([CHILD]);
const { signal } = new AbortController();

let served: Served;
let now: number;

beforeEach(async () => {
  served = new Served();
  now = Date.now() - 60_000;
  await served.add(NAME, OLD, 'latest', now - 30 * DAY);
  await served.archive.updatePolicy(NAME, (index) => withPolicy(index, { ...NO_POLICY, minimumAgeMs: 7 * DAY }));
  await served.add(NAME, NEW, 'latest', now - DAY);
  for (const { digest, diffId, size } of CHILD.layers) {
    const proof = { version: 1, digest, size, diffIds: { sha256: diffId }, compression: 'gzip' } as const;
    await served.archive.putReceipt({ ...proof, source: NAME, verifiedAt: '2026-01-31T00:00:00.000Z' });
  }
});

const decide = (action: 'release' | 'reject', reference: string): Promise<Decided> =>
  decideImage(served.archive, parseReference(reference), { action, by: 'ann', reason: 'a reason', now, signal });
const current = async (): Promise<string | undefined> =>
  (await served.archive.tagIndex(NAME))?.index.byTag('latest')?.digest;
async function rejected(): Promise<readonly string[]> {
  const images = withheldList((await served.archive.tagIndex(NAME))!.index);
  return images.filter(({ state }) => state === 'rejected').map(({ digest }) => digest);
}

describe('a release', () => {
  test.each([`${NAME}:latest`, `${NAME}:latest@${NEW.digest}`])('of %s shows the held image at once', async (name) => {
    expect(await current()).toBe(OLD.digest);
    await served.store.delete(ociLayout.member(NAME, CHILD.digest));
    expect(await decide('release', name)).toEqual({
      repository: NAME,
      tag: 'latest',
      digest: NEW.digest,
      isVisible: true,
    });
    expect(await current()).toBe(NEW.digest);
    expect(await memberOf(served.archive, NAME, CHILD.digest)).toMatchObject({ root: NEW.digest });
    const index = (await served.archive.tagIndex(NAME))?.index;
    expect(index?.history('latest')).toEqual([
      { digest: OLD.digest, from: now - 30 * DAY, to: now },
      { digest: NEW.digest, from: now, to: undefined },
    ]);
    expect(index?.control.decisions).toMatchObject([{ action: 'release', by: 'ann', at: now, reason: 'a reason' }]);
  });

  test('of an image with a missing layer is refused, and not recorded', async () => {
    const [layer] = CHILD.layers;
    await served.store.delete(ociLayout.receipt(layer!.digest));
    await expect(decide('release', `${NAME}:latest`)).rejects.toThrow(`the archive lacks ${layer!.digest}`);
    expect((await served.archive.tagIndex(NAME))?.index.control.decisions).toEqual([]);
  });

  test('of a digest that the archive lacks is recorded for the next sync', async () => {
    const digest = makeImage({ layers: [makeLayer({ seed: 9 })] }).digest;
    expect(await decide('release', `${NAME}:latest@${digest}`)).toMatchObject({ digest, isVisible: false });
    const descriptor = { digest, mediaType: OLD.mediaType, size: 1 };
    await served.archive.updateTags(NAME, [{ tag: 'latest', descriptor, observed: now, platforms: 'all' }]);
    expect(await current()).toBe(digest);
  });

  test('of a tag that is not withheld is refused with a hint', async () => {
    await expect(decide('release', `${NAME}:other`)).rejects.toThrow(
      'no image is withheld under this tag; mirror-sync ls',
    );
    await expect(decide('release', 'docker.io/library/none:1')).rejects.toThrow(
      'has no repository docker.io/library/none',
    );
  });
});

describe('a rejection', () => {
  test('of a held image ends the hold, and no later observation shows it', async () => {
    expect(await decide('reject', `${NAME}:latest`)).toMatchObject({ digest: NEW.digest, isVisible: false });
    const descriptor = { digest: NEW.digest, mediaType: NEW.mediaType, size: NEW.manifest.length };
    const change = { tag: 'latest', descriptor, observed: now, platforms: 'all' as const };
    const [update] = await served.archive.updateTags(NAME, [change]);
    expect(update).toMatchObject({ outcome: 'rejected', reason: 'rejected by ann: a reason' });
    expect(await current()).toBe(OLD.digest);
  });

  test('of a visible digest removes its tags, and a later release allows it again', async () => {
    await decide('reject', `${NAME}@${OLD.digest}`);
    expect(await current()).toBeUndefined();
    now += 1_000;
    await decide('release', `${NAME}@${OLD.digest}`);
    await served.tag(NAME, OLD, ['latest'], now);
    expect(await current()).toBe(OLD.digest);
  });

  test('of a tag is cancelled by a release of the tag, and no longer listed', async () => {
    await decide('reject', `${NAME}:latest`);
    await decide('reject', `${NAME}:latest`);
    expect(await rejected()).toEqual([NEW.digest, OLD.digest]);
    await expect(decide('release', `${NAME}:latest`)).rejects.toThrow(
      `2 images are rejected under this tag (${NEW.digest}, ${OLD.digest}); add @ and the digest of one`,
    );
    now += 1_000;
    await decide('release', `${NAME}@${NEW.digest}`);
    expect(await rejected()).toEqual([OLD.digest]);
    expect(await decide('release', `${NAME}:latest`)).toMatchObject({ digest: OLD.digest, isVisible: false });
    expect(await rejected()).toEqual([]);
    await served.tag(NAME, OLD, ['latest'], now);
    expect(await current()).toBe(OLD.digest);
  });

  test('of an unknown tag is refused with a hint', async () => {
    await expect(decide('reject', `${NAME}:other`)).rejects.toThrow('the archive has no such tag; name the digest');
  });
});

describe('the commands', () => {
  test('record the user, print the decision, and need a reason', async () => {
    const { registry, archive } = await openScene();
    registry.push('team/app', OLD, '1.0');
    const name = `${registry.host}/team/app:1.0`;
    await runMain(['sync', name, '--to', archive]);
    const run = (...args: string[]): Promise<Ended> => runMain([...args]);
    const rejected = await run('reject', name, archive, '--reason', 'it is broken', '--json');
    expect(jsonLines(rejected)).toMatchObject([
      { type: 'decision', action: 'reject', digest: OLD.digest, by: expect.stringMatching(`^${userInfo().username}@`) },
    ]);
    expect((await run('ls', archive)).stdout).not.toContain('1.0');
    expect((await run('ls', archive, '--held')).stdout).toContain('rejected by');
    const released = await run('release', `${name}@${OLD.digest}`, archive, '--reason', 'it is repaired');
    expect(released.stdout).toMatch(/^released .* as .*; the next sync shows it, if upstream still names it\n$/);
    expect((await run('sync', name, '--to', archive)).code).toBe(0);
    expect((await run('ls', archive)).stdout).toContain(name);
    for (const [args, text] of [
      [['release', name, archive], 'give a reason of 1 to 1000 characters with --reason'],
      [
        ['reject', `${registry.host}/team/app`, archive, '--reason', 'x'],
        'names a repository; name a tag or a digest of it',
      ],
      [['release', name, '--reason', 'x'], 'name one image as ls --held does, and the archive that has it'],
    ] as const) {
      const ended = await run(...args);
      expect([ended.code, ended.stdout]).toEqual([2, '']);
      expect(ended.stderr).toContain(text);
    }
  });
});
