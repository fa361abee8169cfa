/** Real clients pull a tag as it was at each instant of its history. */
import { expect, test } from 'vitest';
import { FolderStore } from '../../lib/store/folder/store.ts';
import { makeImage, makeIndex, makeLayer, type Pushable } from '../kit/images.ts';
import { mirror } from '../kit/mirror.ts';
import { describeWith, run } from '../kit/real.ts';
import { startRegistry } from '../kit/registry.ts';
import { serving } from '../kit/serving.ts';
import { tempFolder } from '../kit/temp.ts';

const SHARED = makeLayer({ seed: 1 });
const image = (seed: number): Pushable => makeImage({ layers: [SHARED, makeLayer({ seed })] });
const [FIRST, SECOND, INDEX] = [image(2), image(3), makeIndex([image(4), image(5)])];

/** The tag moves, returns to an earlier digest, and is observed twice without a move. */
const MOVES: readonly (readonly [time: string, image: Pushable])[] = [
  ['2026-01-10T08:00:00Z', FIRST],
  ['2026-01-11T08:00:00Z', SECOND],
  ['2026-01-12T08:00:00Z', SECOND],
  ['2026-01-13T08:00:00Z', FIRST],
  ['2026-01-14T08:00:00Z', INDEX],
  ['2026-01-15T08:00:00Z', FIRST],
];

const SECOND_MS = 1_000;

/** `20260110t080000z` */
function prefixOf(instant: number): string {
  return `at-${new Date(instant).toISOString().slice(0, 19).replaceAll(/[-:]/g, '').toLowerCase()}z`;
}

describeWith(['crane'], 'crane', () => {
  test('reads the digest that a moved tag had at each instant, and pulls it', async () => {
    await using registry = await startRegistry();
    await using folder = await tempFolder();
    {
      await using store = new FolderStore(folder.join('archive'));
      for (const [time, moved] of MOVES) {
        registry.push('team/app', moved, 'latest');
        const { outcomes } = await mirror({
          store,
          references: [`${registry.host}/team/app:latest`],
          now: () => Date.parse(time),
        });
        expect(outcomes.map(({ status }) => status)).not.toContain('failed');
      }
    }
    await using served = await serving(folder.join('archive'));
    const name = `${registry.host.replace(':', '_')}/team/app`;
    const crane = (...args: string[]): Promise<string> => run('crane', [...args, '--insecure']);
    const digestAt = async (prefix: string): Promise<string> =>
      (await crane('digest', `${served.host}/${prefix}/${name}:latest`)).trim();
    for (const [at, [time, { digest }]] of MOVES.entries()) {
      const instant = Date.parse(time);
      const end = Date.parse(MOVES[at + 1]?.[0] ?? '2026-01-20T00:00:00Z') - SECOND_MS;
      for (const within of [instant, instant + SECOND_MS, end])
        expect([prefixOf(within), await digestAt(prefixOf(within))]).toEqual([prefixOf(within), digest]);
      const day = `at-${time.slice(0, 10).replaceAll('-', '')}`;
      expect([day, await digestAt(day)]).toEqual([day, digest]);
      const layout = folder.join(`pulled-${at}`);
      await crane('pull', '--format=oci', `${served.host}/${prefixOf(instant)}/${name}:latest`, layout);
      expect(await run('grep', ['-c', digest, `${layout}/index.json`])).toBe('1\n');
    }
    const before = prefixOf(Date.parse('2026-01-10T08:00:00Z') - SECOND_MS);
    await expect(digestAt(before)).rejects.toThrow('MANIFEST_UNKNOWN');
    expect(await crane('ls', `${served.host}/${before}/${name}`)).toBe('');
    expect(await crane('ls', `${served.host}/${prefixOf(Date.parse(MOVES[0]![0]))}/${name}`)).toBe('latest\n');
  });
});
