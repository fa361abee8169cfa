import { beforeEach, describe, expect, test } from 'vitest';
import type { Archive } from '../../../lib/archive/archive.ts';
import { withDecisionIn } from '../../../lib/archive/tag-index/withheld.ts';
import { verifyAndReport, type VerifyRequest } from '../../../lib/cli/commands/verify.ts';
import { VerifyProgress } from '../../../lib/cli/output/verify-progress.ts';
import { parseDigest } from '../../../lib/oci/digest.ts';
import { NO_POLICY } from '../../../lib/policy/policy.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { mirror } from '../../kit/mirror.ts';
import { startRegistry } from '../../kit/registry.ts';

const [shared, own] = [makeLayer({ seed: 1 }), makeLayer({ seed: 2 })];
const damaged = makeImage({ layers: [shared, own] });
const sound = makeImage({ layers: [shared] });

let archive: Archive;
let store: MemoryStore;
let host: string;

/** Two repositories; the image of the first one has lost a layer, and has references with and without a tag. */
beforeEach(async () => {
  await using registry = await startRegistry();
  ({ host } = registry);
  registry.push('team/a', damaged, 'v1');
  registry.push('team/b', sound, 'v1');
  store = new MemoryStore();
  const references = [`${host}/team/a:v1`, `${host}/team/b:v1`];
  ({ archive } = await mirror({ store, references }));
  const { descriptor } = damaged;
  await archive.updateTags(`${host}/team/a`, [{ descriptor, observed: 1, platforms: 'all' }]);
  await store.delete(archive.layout.blob(parseDigest(own.digest)));
});

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly asked: readonly string[];
}

async function run(options: Partial<VerifyRequest> = {}, answer?: string): Promise<Ended> {
  let [stdout, stderr] = ['', ''];
  const asked: string[] = [];
  const command = { archive: 'ar', repositories: [], repair: false, yes: false, json: false } as const;
  const code = await verifyAndReport({ ...command, ...options }, archive, {
    stdout: { write: (text: string) => void (stdout += text) },
    stderr: { write: (text: string) => void (stderr += text) },
    env: {},
    signal: new AbortController().signal,
    ask:
      answer === undefined
        ? undefined
        : (question) => {
            asked.push(question);
            return Promise.resolve(answer);
          },
  });
  return { code, stdout, stderr, asked };
}

/** Everything in the archive, with its version. */
async function everything(): Promise<string[]> {
  const objects = await Array.fromAsync(store.list(''));
  return Promise.all(objects.map(async ({ key }) => `${key} ${(await store.head(key))?.etag ?? ''}`));
}

const lines = ({ stdout }: Ended): unknown[] =>
  stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as unknown);

describe('verify --repair', () => {
  test('lists the removals and changes nothing without a terminal', async () => {
    const before = await everything();
    const ended = await run({ repair: true });
    expect(ended.code).toBe(2);
    expect(ended.stdout).toContain('--repair would remove 2 references:\n');
    expect(ended.stdout).toContain(`  ${host}/team/a:v1 (the next sync restores it, if upstream still has it)\n`);
    expect(ended.stdout).toContain(
      `  ${host}/team/a@${damaged.digest} (no tag: only a sync of this digest restores it)\n`,
    );
    expect(ended.stderr).toBe(
      'repair archive: nothing was changed (no terminal to confirm that 2 references may be removed); add --yes\n',
    );
    expect(await everything()).toEqual(before);
  });

  test('lists the removals as JSON and changes nothing with --json', async () => {
    const before = await everything();
    const ended = await run({ repair: true, json: true });
    expect(ended.code).toBe(2);
    expect(lines(ended).slice(-3)).toEqual([
      { type: 'removal', reference: `${host}/team/a:v1`, restorable: true },
      { type: 'removal', reference: `${host}/team/a@${damaged.digest}`, restorable: false },
      {
        type: 'summary',
        ok: false,
        references: 3,
        held: 0,
        objects: 5,
        bytes: expect.any(Number) as number,
        problems: 2,
        dropped: [],
        receipts: 0,
        times: 0,
      },
    ]);
    expect(await everything()).toEqual(before);
  });

  test.each(['', 'n', 'no', 'yy', 'maybe'])('changes nothing if the answer is %j', async (answer) => {
    const before = await everything();
    const ended = await run({ repair: true }, answer);
    expect(ended).toMatchObject({ code: 1, asked: ['Remove 2 references and the corrupt blobs below? [y/N] '] });
    expect(ended.stdout).toContain(`${host}/team/a:v1`);
    expect(await everything()).toEqual(before);
  });

  test.each(['y', 'Y', 'yes\n', ' YES '])('removes the listed references if the answer is %j', async (answer) => {
    const ended = await run({ repair: true }, answer);
    expect(ended.code).toBe(1);
    expect(ended.stdout).toContain(
      `removed: ${host}/team/a:v1 (the next sync restores it, if upstream still has it)\n`,
    );
    expect(await run()).toMatchObject({ code: 0 });
  });

  test('does not ask with --yes', async () => {
    const ended = await run({ repair: true, yes: true, json: true }, 'n');
    expect(ended).toMatchObject({ code: 1, asked: [] });
    const dropped = [`${host}/team/a:v1`, `${host}/team/a@${damaged.digest}`];
    expect(lines(ended).at(-1)).toMatchObject({ type: 'summary', dropped, receipts: 0 });
    expect(await run()).toMatchObject({ code: 0 });
  });

  test('does not ask if it only restores an oci-layout file, and prints that', async () => {
    await run({ repair: true, yes: true });
    await store.delete(archive.layout.marker(`${host}/team/b`).key);
    const ended = await run({ repair: true });
    expect(ended).toMatchObject({ code: 1, stderr: '' });
    expect(ended.stdout).toContain(`${host}/team/b: repositories/`);
    expect(ended.stdout).toMatch(/: 1 problem\nrewritten: 1 oci-layout file\n$/);
    expect(await run()).toMatchObject({ code: 0 });
  });

  // This loses nothing.
  test('does not ask if it only rewrites receipts', async () => {
    await run({ repair: true, yes: true });
    await store.delete(archive.layout.receipt(parseDigest(shared.digest)));
    expect(await run({ repair: true })).toMatchObject({ code: 1, stderr: '' });
    expect(await run()).toMatchObject({ code: 0 });
  });
});

describe('a held image', () => {
  test('is named with its digest, counted, and removed if it is damaged', async () => {
    await using registry = await startRegistry();
    registry.push('team/c', sound, 'v1');
    const policy = { ...NO_POLICY, minimumAgeMs: 86_400_000 };
    await mirror({ store, references: [`${registry.host}/team/c:v1`], policy });
    const repositories = [`${registry.host}/team/c`];
    const name = `${registry.host}/team/c:v1@${sound.digest}`;
    expect((await run({ repositories })).stdout).toMatch(/^1 reference \(1 held\), 3 objects, /);
    await store.delete(archive.layout.blob(parseDigest(shared.digest)));
    expect((await run({ repositories })).stdout).toContain(
      `${name} (held): ${shared.digest}: it is not in the archive\n`,
    );
    expect(lines(await run({ repositories, json: true }))).toMatchObject([
      { type: 'problem', reference: name, digest: shared.digest, held: true },
      { type: 'summary', ok: false, references: 1, held: 1 },
    ]);
    const repaired = await run({ repair: true, yes: true });
    expect(repaired.stdout).toContain(
      `removed: ${name} (held; the next sync restores it, and its minimum age continues)\n`,
    );
  });
});

test('a rejected image is named with its digest if its content is corrupt', async () => {
  const repository = `${host}/team/b`;
  await archive.updatePolicy(repository, (index) =>
    withDecisionIn(index, { action: 'reject', digest: sound.digest, by: 'ann', at: 1, reason: 'a reason' }),
  );
  await store.put(archive.layout.blob(parseDigest(shared.digest)), Buffer.from('other'));
  const reference = `${repository}@${sound.digest}`;
  const ended = await run({ repositories: [repository] });
  expect(ended).toMatchObject({ code: 1 });
  expect(ended.stdout).toContain(`${reference} (rejected): ${shared.digest}: its 5 bytes hash to`);
  expect(lines(await run({ repositories: [repository], json: true }))).toMatchObject([
    { type: 'problem', reference, digest: shared.digest, rejected: true },
    { type: 'summary', ok: false, references: 0 },
  ]);
});

describe('verify of some repositories', () => {
  test('reads only these', async () => {
    const ended = await run({ repositories: [`${host}/team/b`], json: true });
    expect(ended.code).toBe(0);
    expect(lines(ended)).toMatchObject([{ type: 'summary', ok: true, references: 1, objects: 3 }]);
    expect(await run({ repositories: [`${host}/team/a`] })).toMatchObject({ code: 1 });
  });

  test('refuses one that the archive does not have', async () => {
    await expect(run({ repositories: [`${host}/team/c`] })).rejects.toMatchObject({
      side: 'input',
      message: expect.stringContaining(`${host}/team/c: it is not in ar; did you mean ${host}/team/`) as string,
    });
  });
});

describe('the progress of verify', () => {
  const state = { repository: 'host/team/a', position: 2, total: 3, objects: 4, bytes: 5_000_000 };

  interface Shown {
    text: string;
    /** The time of the clock, in milliseconds. */
    at: number;
    readonly progress: VerifyProgress;
  }

  function shown(isTTY: boolean, env: Record<string, string> = {}): Shown {
    const seen = { text: '', at: 0 };
    const stderr = { write: (text: string) => void (seen.text += text), isTTY, columns: 60 };
    return Object.assign(seen, { progress: new VerifyProgress({ stderr, env }, () => seen.at) });
  }

  test('is a line that is redrawn on a terminal, and removed before other output', () => {
    const seen = shown(true);
    seen.progress.show(state);
    expect(seen.text).toBe('');
    seen.at = 100;
    seen.progress.show(state);
    expect(seen.text).toBe('\r\x1b[Kverifying host/team/a (2 of 3): 4 objects, 5.0 MB read in 0');
    seen.at = 150;
    seen.progress.show(state);
    seen.progress.clear();
    seen.progress.clear();
    expect(seen.text).toMatch(/in 0\r\x1b\[K$/);
  });

  test.each([
    ['without a terminal', false, {}],
    ['on a dumb terminal', true, { TERM: 'dumb' }],
  ])('is a line every half minute %s', (_, isTTY, env) => {
    const seen = shown(isTTY, env);
    for (const at of [29_999, 30_000, 59_999, 60_000]) {
      seen.at = at;
      seen.progress.show(state);
    }
    seen.progress.clear();
    expect(seen.text).toBe(
      [30, 60]
        .map((s) => `verifying host/team/a (2 of 3): 4 objects, 5.0 MB read in ${s === 30 ? '30.0 s' : '1 min 0 s'}\n`)
        .join(''),
    );
  });
});
