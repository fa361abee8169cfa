/** The commands for an archive that a machine has written whose clock was a day ahead. */
import { generateKeyPairSync } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { type Ended, jsonLines } from '../../kit/command-line.ts';
import { makeImage } from '../../kit/images.ts';
import { runMain } from '../../kit/in-process.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { tempFolder, type TempFolder } from '../../kit/temp.ts';

let registry: TestRegistry;
let folder: TempFolder;
let archive: string;
let name: string;
let reason: string;

const run = (...args: readonly string[]): Promise<Ended> => runMain(args);

beforeEach(async () => {
  registry = await startRegistry();
  folder = await tempFolder();
  archive = folder.join('archive');
  for (const path of ['team/a', 'team/b']) registry.push(path, makeImage(), 'v1');
  name = `${registry.host}/team/a`;
  expect(await run('sync', `${name}:v1`, `${registry.host}/team/b:v1`, '--to', archive)).toMatchObject({ code: 0 });
  const file = `${archive}/${ociLayout.tagIndex(name)}`;
  const day = new Date(Date.now() + 24 * 60 * 60_000).toISOString();
  const text = (await readFile(file, 'utf8')).replace(/("dev\.mirror-sync\.observed":")[^"]+/, `$1${day}`);
  await writeFile(file, text);
  reason = `is ${day}, more than 15 minutes after the clock of this machine`;
});

afterEach(async () => {
  await registry.close();
  await folder.remove();
});

const REMEDY = '; if that clock is right, verify --repair sets such times to the present\n';

test.each<[command: string, args: () => readonly string[], code: number]>([
  ['ls', () => [archive], 1],
  ['history', () => [`${name}:v1`, archive], 1],
  ['sync', () => [`${name}:v1`, '--to', archive], 1],
  ['reject', () => [`${name}:v1`, archive, '--reason', 'x'], 1],
])('%s names the remedy', async (command, args, code) => {
  const ended = await run(command, ...args());
  expect(ended.code).toBe(code);
  const output = ended.stdout + ended.stderr;
  expect(output).toContain(`manifests[0].annotations.dev.mirror-sync.observed: ${reason}`);
  expect(output).toContain(REMEDY);
  expect(output).not.toContain('move it away');
});

test('verify reports the time in one line, and verifies all references', async () => {
  const { code, stdout } = await run('verify', archive);
  expect(code).toBe(1);
  const [problem, summary, hint] = stdout.split('\n');
  expect(problem).toContain(`${name}: manifests[0].annotations.dev.mirror-sync.observed of tag v1 ${reason} (`);
  expect(`${problem}\n`).toContain(REMEDY);
  expect(summary).toMatch(/^2 references, .*: 1 problem$/);
  expect(hint).toContain('times in the future are set to the present');
});

test('verify also checks the attestations of all repositories', async () => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await writeFile(folder.join('key.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
  const { code, stdout } = await run('verify', archive, '--attest-public-key', folder.join('key.pub'));
  expect(code).toBe(1);
  for (const path of ['team/a', 'team/b'])
    expect(stdout).toMatch(new RegExp(`^${registry.host}/${path}:v1: .*it has no attestation by`, 'm'));
  expect(stdout).toContain(': 3 problems\n');
});

test('verify --repair sets the time to the present, and all commands read the archive again', async () => {
  const { code, stdout } = await run('verify', archive, '--repair');
  expect(code).toBe(1);
  expect(stdout).toMatch(/: 1 problem\nset to the present: the times in the future of 1 tag index\n$/);
  expect((await run('ls', archive)).stdout).toContain(`${name}:v1`);
  for (const args of [
    ['ls', archive],
    ['verify', archive],
    ['sync', `${name}:v1`, '--to', archive],
  ])
    expect(await run(...args)).toMatchObject({ code: 0 });
});

test('verify --repair --json counts the repaired tag indexes', async () => {
  const summaries = async (): Promise<unknown> => jsonLines(await run('verify', archive, '--repair', '--json')).at(-1);
  expect(await summaries()).toMatchObject({ type: 'summary', ok: false, dropped: [], receipts: 0, times: 1 });
  expect(await summaries()).toMatchObject({ type: 'summary', ok: true, times: 0 });
});
