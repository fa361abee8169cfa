/** docs/events.schema.json and docs/json.md, compared with the real output of `--json`. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import Ajv from 'ajv';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { openArchive } from '../../../lib/app/open-archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { withDecisionIn, withPolicy } from '../../../lib/archive/tag-index/withheld.ts';
import { MEDIA_TYPES } from '../../../lib/oci/mediatype.ts';
import { NO_POLICY } from '../../../lib/policy/policy.ts';
import { accessLog } from '../../../lib/cli/output/access-log.ts';
import { printRun } from '../../../lib/cli/commands/status.ts';
import { imageName } from '../../../lib/sync/events.ts';
import { summaryOf, writeSummary } from '../../../lib/sync/run/summary.ts';
import { writeReport } from '../../../lib/sync/reports.ts';
import { runStartOf, writeRunStart } from '../../../lib/sync/runs.ts';
import { resolveMessage } from '../../../lib/queue/outgoing.ts';
import { type Ended, jsonLines } from '../../kit/command-line.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { runMain } from '../../kit/in-process.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { readPage } from '../../kit/pages.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { tempFolder, type TempFolder } from '../../kit/temp.ts';
import { digestFor } from '../queue/samples.ts';

interface Schema {
  readonly definitions: Readonly<Record<string, Schema>>;
  readonly properties?: Readonly<Record<string, { readonly const?: string }>>;
}

const SCHEMA = JSON.parse(readPage('docs/events.schema.json')) as Schema;

/** The schema allows fields of later releases. Here a field that it does not describe is an error. */
function strict(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(strict);
  if (typeof schema !== 'object' || schema === null) return schema;
  const entries = Object.entries(schema).map(([key, value]) => [key, strict(value)] as const);
  return Object.fromEntries('required' in schema ? [...entries, ['additionalProperties', false]] : entries);
}

const ajv = new Ajv({ schemas: { schema: strict(SCHEMA) as object } });

/** Fails for a line that does not match the definition. Returns the types of the lines. */
function expectValid(lines: readonly unknown[], summary?: string): string[] {
  return lines.map((line) => {
    const { type } = line as { type: string };
    const definition = type === 'summary' ? (summary ?? '') : type;
    ajv.validate(`schema#/definitions/${definition}`, line);
    expect(`${ajv.errorsText()}: ${JSON.stringify(line)}`).toMatch(/^No errors: /);
    return type;
  });
}

let registry: TestRegistry;
let folder: TempFolder;
let archive: string;
const named = (rest: string): string => `${registry.host}/${rest}`;
const layer = makeLayer({ seed: 1, size: 5_000 });

beforeAll(async () => {
  registry = await startRegistry();
  folder = await tempFolder();
  archive = folder.join('archive');
});

afterAll(async () => {
  await registry.close();
  await folder.remove();
});

const run = (...args: string[]): Promise<Ended> => runMain([...args, '--json']);

describe('docs/events.schema.json describes each line of --json', () => {
  test('for sync', async () => {
    registry.push('team/app', makeImage({ layers: [layer] }), '1.0');
    const args = ['sync', named('team/app'), named('team/none'), '--all-tags', '--to', archive];
    const types = expectValid(jsonLines(await run(...args)), 'syncSummary');
    expect(new Set(types)).toEqual(new Set(['listed', 'resolved', 'blob', 'image', 'summary']));
    const config = {
      User: 'app',
      Entrypoint: ['/app'],
      Cmd: null,
      Env: ['A=1'],
      Labels: Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`label-${at}`, 'x'])),
    };
    registry.push(
      'team/app',
      makeImage({ layers: [makeLayer({ seed: 2 })], overrides: { config: { config } } }),
      '1.0',
    );
    const moved = jsonLines(await run('sync', named('team/app:1.0'), '--to', archive));
    expectValid(moved, 'syncSummary');
    expect(moved.at(-1)).toHaveProperty('images.0.changes.layers');
    const none = jsonLines(await run('sync', named('team/app'), '--tags', 'x*', '--to', archive));
    expectValid(none, 'syncSummary');
    expect(none[0]).toHaveProperty('upstream');
  });

  test('for ls, history and verify', async () => {
    expect(expectValid(jsonLines(await run('ls', archive)))).toEqual(['reference', 'reference']);
    const periods = jsonLines(await run('history', named('team/app:1.0'), archive, '--changes'));
    expect(expectValid(periods)).toEqual(['period', 'period']);
    expect(periods[1]).toMatchObject({ changes: { layers: { shared: 0, added: 1, removed: 1 } } });
    expect(expectValid(jsonLines(await run('verify', archive)), 'verifySummary')).toEqual(['summary']);
    await rm(join(archive, 'blobs', ...layer.digest.split(':')));
    const repair = jsonLines(await run('verify', archive, '--repair'));
    expect(expectValid(repair, 'verifySummary')).toEqual(['problem', 'removal', 'summary']);
  });

  test('for check', async () => {
    const file = folder.join('mirror.yaml');
    for (const text of ['version: 1\nmirrors: [{ source: a, tags: all }]\n', 'version: 1\n']) {
      await writeFile(file, text);
      expect(expectValid(jsonLines(await run('check', file)))).toEqual(['check']);
    }
  });

  test('for status of a sync, and of a run that has ended', async () => {
    registry.push('team/app', makeImage({ layers: [makeLayer({ seed: 7 })] }), 'new');
    expect((await run('sync', named('team/app:new'), named('team/app:gone'), '--to', archive)).code).toBe(1);
    const local = await run('status', archive);
    expect(local.code).toBe(1);
    expect(expectValid(jsonLines(local), 'statusSummary')).toEqual(['report', 'report', 'summary']);
    const counts = { mirrored: 1, unchanged: 0, failed: 1 };
    expect(jsonLines(local).at(-1)).toMatchObject({ by: 'sync', outcome: 'finished', counts, moved: 0 });
    const runs = new Archive(new MemoryStore(), ociLayout);
    const facts = { run: 'run-1', by: 'schedule', outcome: 'incomplete', missing: { messages: 1, images: 2 } } as const;
    const time = '2026-01-31T00:00:00.000Z';
    await writeSummary(runs, summaryOf({ ...facts, started: time, finished: time }, [], { queued: 3 }, 1));
    let stdout = '';
    const out = { write: (text: string) => void (stdout += text) };
    const io = { stdout: out, stderr: out, env: {}, signal: new AbortController().signal };
    expect(await printRun({ run: undefined, json: true }, runs, io)).toBe(0);
    expectValid(jsonLines({ code: 0, stdout, stderr: '' }), 'statusSummary');
    expect(jsonLines({ code: 0, stdout, stderr: '' }).at(-1)).toMatchObject({
      counts: { queued: 3 },
      missing: { images: 2 },
    });
  });

  test('for status', async () => {
    const runs = new Archive(new MemoryStore(), ociLayout);
    const order = { run: 'run-1', source: 'a.example/b', repository: 'a.example/b', platforms: 'all' as const };
    const failed = { status: 'failed', code: 'denied', reason: 'no entry', notes: ['a note'] } as const;
    const digests = { digest: digestFor('1'), previous: digestFor('0') };
    await writeReport(runs, { type: 'image', ...imageName(order, { tag: '1' }), ...failed }, 0);
    await writeReport(runs, { type: 'image', ...imageName(order, { tag: '2' }), status: 'mirrored', ...digests }, 0);
    const messages = [resolveMessage(order, { kind: 'images', images: [{ tag: '1' }] })];
    await writeRunStart(runs, runStartOf('run-1', 'schedule', messages, 0));
    let stdout = '';
    const out = { write: (text: string) => void (stdout += text) };
    const io = { stdout: out, stderr: out, env: {}, signal: new AbortController().signal };
    await printRun({ run: undefined, json: true }, runs, io);
    const types = expectValid(jsonLines({ code: 0, stdout, stderr: '' }), 'statusSummary');
    expect(types).toEqual(['report', 'report', 'summary']);
  });

  test('for ls --held', async () => {
    const held = folder.join('held');
    await using opened = await openArchive(held, 'write', { env: {}, signal: new AbortController().signal });
    await opened.prepare();
    const policy = { ...NO_POLICY, minimumAgeMs: 60_000 };
    await opened.archive.updatePolicy('docker.io/team/app', (index) => withPolicy(index, policy));
    const descriptor = { digest: digestFor('manifest'), mediaType: MEDIA_TYPES.ociManifest, size: 2 };
    const change = { descriptor, observed: Date.now(), platforms: 'all' as const };
    await opened.archive.updateTags('docker.io/team/app', [{ ...change, tag: '1' }]);
    const reject = { action: 'reject', digest: digestFor('layer'), by: 'ann', at: Date.now(), reason: 'old' } as const;
    await opened.archive.updatePolicy('docker.io/team/app', (index) => withDecisionIn(index, reject));
    const lines = jsonLines(await runMain(['ls', held, '--held', '--json']));
    expect(expectValid(lines)).toEqual(['withheld', 'withheld']);
    expect(lines).toMatchObject([
      { reference: `docker.io/team/app@${digestFor('layer')}`, state: 'rejected', reason: 'old', by: 'ann' },
      { reference: 'docker.io/team/app:1', state: 'held', until: new Date(change.observed + 60_000).toISOString() },
    ]);
    const decided = await runMain([
      'release',
      'docker.io/team/app@' + digestFor('other'),
      held,
      '--reason',
      'x',
      '--json',
    ]);
    expect(expectValid(jsonLines(decided))).toEqual(['decision']);
    const { stdout } = await runMain(['ls', held, '--held']);
    expect(stdout).toContain(`  held until ${new Date(change.observed + 60_000).toISOString()}`);
    expect(stdout).toContain('  rejected by ann: old');
    expect(stdout).toMatch(/\ntotal: 2 withheld images\n$/);
    expect(await runMain(['ls', held, '--held', '--as-of', '2026-01-31'])).toMatchObject({ code: 2, stdout: '' });
  });

  test('for serve', () => {
    let stdout = '';
    const io = { stdout: { write: (text: string) => void (stdout += text) }, env: {} };
    const log = accessLog({ json: true, quiet: false }, io);
    const facts = { isMiss: true, missingTag: undefined, sentBytes: 1, redirectedBytes: 0, ms: 0.5 };
    const request = { client: '::1', method: 'GET', target: '/v2/', status: 200 };
    log({ ...facts, ...request, kind: 'base', user: undefined, bytes: undefined });
    log({ ...facts, ...request, kind: 'blob', user: 'ann', bytes: 1 });
    expect(expectValid(jsonLines({ code: 0, stdout, stderr: '' }))).toEqual(['access', 'access']);
  });

  test('and an unknown field would fail these tests', () => {
    expect(() => expectValid([{ type: 'check', ok: true, other: 1 }])).toThrow(/should NOT have addit/);
  });
});

test('docs/json.md names each type and each field of the schema', () => {
  const page = readPage('docs/json.md');
  for (const { properties = {} } of Object.values(SCHEMA.definitions))
    for (const [field, { const: type }] of Object.entries(properties))
      expect(page, field).toContain(`\`${field === 'type' ? (type ?? '') : field}\``);
});
