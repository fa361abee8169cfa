import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { withDecisionIn } from '../../../lib/archive/tag-index/withheld.ts';
import { FolderStore } from '../../../lib/store/folder/store.ts';
import { jsonLines } from '../../kit/command-line.ts';
import { runMain } from '../../kit/in-process.ts';
import { tempFolder } from '../../kit/temp.ts';
import { digest, saw } from '../archive/observations.ts';

const REPOSITORY = 'host.example/team/app';
const at = (text: string): number => Date.parse(text);
let archive: string;

/** `latest` names a from the first of January, b from the tenth, and a again from the twentieth. */
beforeEach(async () => {
  const folder = await tempFolder();
  onTestFinished(() => folder.remove());
  archive = folder.join('archive');
  await using store = new FolderStore(archive);
  await new Archive(store, ociLayout).updateTags(REPOSITORY, [
    saw('latest', 'a', at('2026-01-01T10:00:00Z')),
    saw('latest', 'b', at('2026-01-10T10:00:00Z')),
    saw('latest', 'a', at('2026-01-20T10:00:00Z')),
    saw(undefined, 'c', at('2026-01-15T10:00:00Z')),
  ]);
});

describe('history', () => {
  test('prints each digest that the tag had, from when to when', async () => {
    expect((await runMain(['history', `${REPOSITORY}:latest`, archive])).stdout.split('\n')).toEqual([
      `DIGEST${' '.repeat(65)}  FROM                      TO`,
      `${digest('a')}  2026-01-01T10:00:00.000Z  2026-01-10T10:00:00.000Z`,
      `${digest('b')}  2026-01-10T10:00:00.000Z  2026-01-20T10:00:00.000Z`,
      `${digest('a')}  2026-01-20T10:00:00.000Z  now`,
      '',
    ]);
  });

  test('prints short digests on a terminal', async () => {
    const { stdout } = await runMain(['history', REPOSITORY, archive], { isTTY: true, columns: 80 });
    expect(stdout).toContain(`${digest('b').slice(7, 19)}  2026-01-10T10:00:00.000Z  2026-01-20T10:00:00.000Z\n`);
  });

  test('prints a JSON object per period', async () => {
    const [first, , last] = jsonLines(await runMain(['history', REPOSITORY, archive, '--json']));
    expect(first).toEqual({
      type: 'period',
      reference: `${REPOSITORY}:latest`,
      digest: digest('a'),
      from: '2026-01-01T10:00:00.000Z',
      to: '2026-01-10T10:00:00.000Z',
    });
    expect(last).toMatchObject({ digest: digest('a'), from: '2026-01-20T10:00:00.000Z', to: null });
  });

  test('says which digests were rejected, and which a repair removed', async () => {
    {
      await using store = new FolderStore(archive);
      const opened = new Archive(store, ociLayout);
      await opened.updatePolicy(REPOSITORY, (index) =>
        withDecisionIn(index, { action: 'reject', digest: digest('b'), by: 'ann', at: 1, reason: 'a reason' }),
      );
      await opened.dropReferences(REPOSITORY, new Set([digest('a')]), 1);
    }
    const { stdout } = await runMain(['history', REPOSITORY, archive]);
    expect(stdout.split('\n').map((line) => line.split(/ {2,}/)[0])).toEqual([
      'DIGEST',
      'removed by a repair',
      'rejected',
      'removed by a repair',
      '',
    ]);
    const periods = jsonLines(await runMain(['history', REPOSITORY, archive, '--json']));
    const [from, to] = ['2026-01-10T10:00:00.000Z', '2026-01-20T10:00:00.000Z'];
    expect(periods[1]).toEqual({
      type: 'period',
      reference: `${REPOSITORY}:latest`,
      digest: null,
      rejected: true,
      from,
      to,
    });
    expect(periods[2]).not.toHaveProperty('rejected');
  });

  test('of an unknown tag or repository is an error with a suggestion', async () => {
    const [tag, repository] = [`${REPOSITORY}:lates`, 'host.example/team/ap'];
    expect(await runMain(['history', tag, archive])).toMatchObject({
      code: 2,
      stdout: '',
      stderr: `mirror-sync history: list history of ${tag}: ${archive} has never had the tag; did you mean latest?\n`,
    });
    expect(await runMain(['history', repository, archive])).toMatchObject({
      code: 2,
      stderr: `mirror-sync history: history ${repository}: it is not in ${archive}; did you mean ${REPOSITORY}?\n`,
    });
  });
});

describe('ls --as-of', () => {
  const rows = async (time: string): Promise<unknown[]> =>
    (jsonLines(await runMain(['ls', archive, '--as-of', time, '--json'])) as Record<string, string | undefined>[]).map(
      ({ reference, digest: of, observed, replaced }) => [
        reference?.slice(REPOSITORY.length),
        of,
        observed?.slice(0, 10),
        ...(replaced === undefined ? [] : [replaced.slice(0, 10)]),
      ],
    );

  test('lists the tags of upstream at that time', async () => {
    expect(await rows('2026-01-01T09:59:59Z')).toEqual([]);
    expect(await rows('2026-01-01')).toEqual([[':latest', digest('a'), '2026-01-01']]);
    expect(await rows('2026-01-15T12:00:00Z')).toEqual([
      [':latest', digest('b'), '2026-01-10'],
      [`@${digest('c')}`, digest('c'), '2026-01-15'],
      [`@${digest('a')}`, digest('a'), '2026-01-01', '2026-01-10'],
    ]);
    expect(await rows('2026-01-20T10:00:00Z')).toEqual([
      [':latest', digest('a'), '2026-01-20'],
      [`@${digest('c')}`, digest('c'), '2026-01-15'],
      [`@${digest('b')}`, digest('b'), '2026-01-10', '2026-01-20'],
    ]);
  });
});
