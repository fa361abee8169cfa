/** The command line against a registry of the kit: its output, its exit code and its archive. */
import { createHash } from 'node:crypto';
import { access, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { jsonLines, mirrorSync, summaryOf } from '../kit/command-line.ts';
import { type Image, type ImageOptions, makeImage, makeIndex, makeLayer } from '../kit/images.ts';
import { poisoned } from '../kit/poisoned.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { makeSchema1 } from '../kit/schema1.ts';
import { openScene } from '../kit/scene.ts';
import type { TempFolder } from '../kit/temp.ts';

let registry: TestRegistry;
let folder: TempFolder;
let archive: string;

beforeEach(async () => {
  ({ registry, folder, archive } = await openScene());
});

function sample(seed: number, options: ImageOptions = {}): Image {
  return makeImage({ layers: [makeLayer({ seed: 1 }), makeLayer({ seed: 100 + seed })], ...options });
}

const named = (rest: string): string => `${registry.host}/${rest}`;

interface Row {
  readonly reference: string;
  readonly digest: string;
}

async function listed(): Promise<Row[]> {
  return jsonLines(await mirrorSync(['ls', archive, '--json'])) as Row[];
}

test('invalid images are refused with their reasons, and the others of the run are mirrored', async () => {
  const poisons = poisoned();
  const good = [sample(1), sample(2)] as const;
  registry.push('team/app', good[0], 'first');
  for (const [i, poison] of poisons.entries()) poison.push(registry, 'team/app', `poison-${i}`);
  registry.push('team/app', good[1], 'last');
  const tags = ['first', ...poisons.map((_, i) => `poison-${i}`), 'last'];

  const ended = await mirrorSync(['sync', ...tags.map((tag) => named(`team/app:${tag}`)), '--to', archive, '--json']);

  expect(ended).toMatchObject({ code: 1, stderr: '' });
  const summary = summaryOf(ended);
  expect(summary).toMatchObject({ mirrored: 2, unchanged: 0, failed: poisons.length });
  const failures = jsonLines(ended) as { type: string; status?: string; tag?: string; code?: string }[];
  for (const [i, { name, code }] of poisons.entries()) {
    const image = summary.images.find(({ reference }) => reference === named(`team/app:poison-${i}`));
    expect(image, name).toMatchObject({ status: 'failed' });
    // The reason names the tag or the digest, the repository and the problem.
    expect(image?.reason, name).toMatch(WHY[name] ?? /./);
    expect(image?.reason, name).toContain(named('team/app'));
    expect(image?.reason, name).toMatch(/:poison-\d+|sha256:[0-9a-f]{64}/);
    const event = failures.find((one) => one.type === 'image' && one.tag === `poison-${i}`);
    expect(event, name).toMatchObject({ status: 'failed', code });
  }
  expect(await listed()).toEqual([
    expect.objectContaining({ reference: named('team/app:first'), digest: good[0].digest }),
    expect.objectContaining({ reference: named('team/app:last'), digest: good[1].digest }),
  ]);
  expect((await mirrorSync(['verify', archive])).code).toBe(0);
});

/** The words for a user. The code is asserted for every kind. */
const WHY: Readonly<Record<string, RegExp>> = {
  'wrong diffID': /layers from manifest don't match image configuration: layer 1 .* unpacks to .*, config .* says/,
  'swapped diffIDs': /layers from manifest don't match image configuration: layer 0 .* unpacks to .*, config .* says/,
  'fewer diffIDs than layers': /2 layers, but 1 diffIDs/,
  'a layer longer than its descriptor': /expected \d+ bytes, got \d+/,
  'a layer shorter than its descriptor': /expected \d+ bytes, got \d+/,
  'a flipped byte': /hash to sha256:/,
  'a missing blob': /404 BLOB_UNKNOWN/,
  'declared gzip that is not': /gzip, but does not unpack as that/,
  'a manifest over 4 MiB': /a manifest of more than 4194304 bytes/,
  'an error page for a manifest': /is not JSON/,
  'an index nested too deep': /nested more than \d+ deep/,
};

// Other cases are in test/unit/cli.
test('wrong usage ends with 2, names the problem, and does nothing', async () => {
  const ended = await mirrorSync(['sync', 'alpine', '--to', archive, '--no-such-option']);
  expect(ended).toMatchObject({ code: 2, stdout: '' });
  expect(ended.stderr).toMatch(/--no-such-option/);
  await expect(access(archive)).rejects.toThrow(/ENOENT/);
});

test('--help lists the commands, and a missing archive is an error', async () => {
  const help = await mirrorSync(['--help']);
  expect(help).toMatchObject({ code: 0, stderr: '' });
  for (const word of ['sync', 'ls', 'verify', '--all-tags', '--platform', '--config'])
    expect(help.stdout).toContain(word);
  const none = await mirrorSync(['ls', folder.join('nothing-here')]);
  expect(none).toMatchObject({ code: 2, stdout: '' });
  expect(none.stderr).toContain('is not a mirror-sync archive');
});

test('a folder that is not an archive is an error with its name', async () => {
  for (const command of ['ls', 'verify', 'status']) {
    const ended = await mirrorSync([command, folder.path]);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toContain(`open archive: ${folder.path} is not a mirror-sync archive (the folder has none of`);
  }
});

test('an unreadable tag index is reported by ls and verify, which continue with the others', async () => {
  for (const name of ['team/a', 'team/b', 'team/c']) registry.push(name, sample(1), '1.0');
  const references = ['a', 'b', 'c'].map((name) => named(`team/${name}:1.0`));
  expect((await mirrorSync(['sync', ...references, '--to', archive])).code).toBe(0);
  const layout = join(archive, 'repositories', registry.host.replace(':', '_'), 'team/b/index.json');
  await writeFile(layout, '{');

  const list = await mirrorSync(['ls', archive, '--json']);
  expect(list.code).toBe(1);
  expect((jsonLines(list) as Row[]).map(({ reference }) => reference)).toEqual([references[0], references[2]]);
  expect(list.stderr).toMatch(/^\S+\/team\/b: .*is not JSON/);
  for (const more of [[], ['--repair', '--yes']]) {
    const verified = await mirrorSync(['verify', archive, '--json', ...more]);
    expect(verified).toMatchObject({ code: 1, stderr: '' });
    expect(jsonLines(verified)).toMatchObject([
      { type: 'problem', reference: named('team/b'), digest: null },
      { type: 'summary', ok: false, references: 2, problems: 1 },
    ]);
  }
  expect(await readFile(layout, 'utf8')).toBe('{');
});

// One image is mirrored, one unchanged, and one missing.
test('the last line of --json is the summary, in exactly this form', async () => {
  const image = sample(1);
  registry.push('team/app', image, 'known');
  await mirrorSync(['sync', named('team/app:known'), '--to', archive]);
  const other = sample(2);
  registry.push('team/app', other, 'new');

  const wanted = ['known', 'new', 'gone'].map((tag) => named(`team/app:${tag}`));
  const ended = await mirrorSync(['sync', ...wanted, '--to', archive, '--json']);

  expect(ended.code).toBe(1);
  // Of `other`, only the content that it does not share with `image`.
  const bytes = other.manifest.length + other.config.length + (other.layers[1]?.size ?? 0);
  const repository = named('team/app');
  const summary: unknown = summaryOf(ended);
  expect(summary).toStrictEqual({
    type: 'summary',
    run: expect.stringMatching(/^\d{4}-\d{2}-\d{2}T[\dZ-]+-[0-9a-f]{8}$/),
    mirrored: 1,
    unchanged: 1,
    held: 0,
    unverified: 0,
    drifted: 0,
    rejected: 0,
    failed: 1,
    referrers: 0,
    bytes,
    elapsedMs: expect.any(Number),
    images: [
      { reference: wanted[0], repository, digest: image.digest, status: 'unchanged', bytes: 0 },
      { reference: wanted[1], repository, digest: other.digest, status: 'mirrored', bytes },
      {
        reference: wanted[2],
        repository,
        digest: null,
        status: 'failed',
        code: 'manifest-unknown',
        reason: expect.stringMatching(/404/),
        bytes: 0,
      },
    ],
    warnings: [],
  });
});

// One tag is requested alone and with an unknown digest. One repository has two destinations, and one of them
// requires a missing platform.
test('every failed request is reported, whatever else succeeds', async () => {
  registry.push('team/app', sample(1), '1.0');
  const [plain, pinned] = [named('team/app:1.0'), named(`team/app:1.0@sha256:${'0'.repeat(64)}`)];
  for (const wanted of [
    [plain, pinned],
    [pinned, plain],
  ]) {
    const ended = await mirrorSync(['sync', ...wanted, '--to', archive, '--json']);
    expect(ended.code).toBe(1);
    const failed = summaryOf(ended).images.filter(({ status }) => status === 'failed');
    expect(failed).toMatchObject([{ reference: pinned }]);
    expect(summaryOf(ended).images.map(({ reference }) => reference)).toEqual(wanted);
  }

  registry.push('team/multi', makeIndex([sample(1)]), '1.0');
  const config = folder.join('mirror.yaml');
  const mirrors = [
    ['mirror.example/a', 'linux/amd64'],
    ['mirror.example/b', 'linux/s390x'],
  ].map(
    ([destination, platform]) =>
      `  - source: ${named('team/multi')}\n    tags: ['1.0']\n    destination: ${destination}\n    platforms: [${platform}]\n`,
  );
  await writeFile(config, `version: 1\nmirrors:\n${mirrors.join('')}`);
  const ended = await mirrorSync(['sync', '--config', config, '--to', archive]);
  expect(ended.code).toBe(1);
  expect(ended.stdout).toMatch(/^1 mirrored, 0 unchanged, 1 failed; /m);
  expect(ended.stdout).toContain(`\n  ${named('team/multi:1.0')} (as mirror.example/b): `);
});

const withoutTime = (line: string): string => line.replace(/^\S+Z /, '');

test('a sync in a pipe prints plain lines with their times, and no escape sequences', async () => {
  const image = sample(1);
  registry.push('team/app', image, '1.0');
  const ended = await mirrorSync(['sync', named('team/app:1.0'), named('team/app:gone'), '--to', archive]);
  expect(ended).toMatchObject({ code: 1, stderr: '' });
  expect(ended.stdout.split('\n').join('')).toMatch(/^\P{Cc}*$/u);
  const lines = ended.stdout.split('\n');
  expect(lines[0]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ /);
  expect(lines.map(withoutTime)).toContain(`${named('team/app:1.0')}: mirrored  ${image.digest}`);
  expect(lines.find((line) => line.startsWith('1 mirrored, 0 unchanged, 1 failed; '))).toBeDefined();
  expect(ended.stdout).toMatch(/failed:\n {2}\S+\/team\/app:gone: .*404 MANIFEST_UNKNOWN/);
});

// Images share some of their layers, so their finalizer is notified several times.
test('each image has one line, and one event, for each result', async () => {
  const tags = Array.from({ length: 12 }, (_, i) => `1.${i}`);
  for (const [i, tag] of tags.entries()) registry.push('team/app', sample(i), tag);
  const bad = poisoned().find(({ name }) => name === 'a flipped byte');
  bad?.push(registry, 'team/app', 'bad');
  const args = ['sync', named('team/app'), '--all-tags', '--to'];
  const plain = await mirrorSync([...args, folder.join('plain')]);
  const again = await mirrorSync([...args, folder.join('plain')]);
  const json = await mirrorSync([...args, folder.join('json'), '--json']);
  const lines = (text: string, status: string): string[] =>
    text.split('\n').flatMap((line) => new RegExp(`^(\\S+): ${status}`).exec(withoutTime(line))?.[1] ?? []);
  const all = tags.map((tag) => named(`team/app:${tag}`)).sort();
  expect(lines(plain.stdout, 'mirrored').sort()).toEqual(all);
  expect(lines(plain.stdout, 'failed')).toEqual([named('team/app:bad')]);
  expect(lines(again.stdout, 'unchanged').sort()).toEqual(all);
  const events = jsonLines(json).filter((line) => (line as { type: string }).type === 'image') as { tag: string }[];
  expect(events.map(({ tag }) => tag).sort()).toEqual([...tags, 'bad'].sort());
});

test('a moved tag is mirrored with the digest that it had before', async () => {
  const [old, current] = [sample(1), sample(2)];
  registry.push('team/app', old, '1.0');
  const args = ['sync', named('team/app:1.0'), '--to', archive];
  await mirrorSync(args);
  registry.push('team/app', current, '1.0');
  const json = await mirrorSync([...args, '--json']);
  const moved = { status: 'mirrored', digest: current.digest, previous: old.digest };
  expect(summaryOf(json).images).toMatchObject([moved]);
  expect(jsonLines(json)).toContainEqual(expect.objectContaining({ type: 'image', ...moved }));
  registry.push('team/app', old, '1.0');
  const plain = await mirrorSync(args);
  const line = `${named('team/app:1.0')}: mirrored  ${old.digest} (moved from ${current.digest};`;
  expect(plain.stdout).toContain(line);
});

test('a name alone is latest, and with --all-tags all of its tags on all pages', async () => {
  await using paged = await startRegistry({ pageSize: 3 });
  const tags = ['latest', ...Array.from({ length: 7 }, (_, i) => `1.${i}`)];
  for (const [i, tag] of tags.entries()) paged.push('team/app', sample(i), tag);
  const name = `${paged.host}/team/app`;

  const one = summaryOf(await mirrorSync(['sync', name, '--to', archive, '--json']));
  expect(one.images.map(({ reference }) => reference)).toEqual([`${name}:latest`]);

  const all = await mirrorSync(['sync', name, '--all-tags', '--to', archive, '--json']);
  expect(all.code).toBe(0);
  expect(summaryOf(all)).toMatchObject({ mirrored: 7, unchanged: 1, failed: 0 });
  expect((await listed()).map(({ reference }) => reference)).toEqual(tags.map((tag) => `${name}:${tag}`).sort());
  // Three pages in each run: for cosign's tags of the new image in the first one, and for both in the second one.
  expect(paged.count({ kind: 'tags' })).toBe(6);
});

// The listed tags are mirrored nevertheless.
describe('a problem with a list of tags is reported', () => {
  test('for a missing repository', async () => {
    const ended = await mirrorSync(['sync', named('team/none'), '--all-tags', '--to', archive, '--json']);
    expect(ended).toMatchObject({ code: 1, stderr: '' });
    expect(summaryOf(ended)).toMatchObject({
      failed: 1,
      images: [{ reference: named('team/none'), status: 'failed', reason: expect.stringMatching(/404 NAME_UNKNOWN/) }],
    });
  });

  test('as a warning for a repository without tags', async () => {
    registry.push('team/app', sample(1), '1.0');
    registry.untag('team/app', '1.0');
    const ended = await mirrorSync(['sync', named('team/app'), '--all-tags', '--to', archive]);
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect(ended.stdout).toMatch(new RegExp(`\nwarnings:\n  ${named('team/app')}: upstream has no tags\n$`));
  });

  test.each([
    ["{ include: ['3.*'] }", '0 of 7 tags match (upstream has 1.0, 1.1, 1.2, 1.3, 1.4, …)'],
    ["{ exclude: ['1.*', edge] }", '0 of 7 tags match (upstream has 1.0, 1.1, 1.2, 1.3, 1.4, …)'],
    ['{ include: [e*], newest: 3 }', '0 of 7 tags match (upstream has 1.0, 1.1, 1.2, 1.3, 1.4, …)'],
  ])('as a warning with some tags of upstream for a filter %s without a match', async (tags, reason) => {
    await using paged = await startRegistry({ pageSize: 3 });
    for (const tag of ['1.0', '1.1', '1.2', '1.3', '1.4', '1.5', 'edge']) paged.push('team/app', sample(1), tag);
    const source = `${paged.host}/team/app`;
    const config = folder.join('mirror.yaml');
    const mirror = `{ source: '${source}', tags: ${tags}, destination: mirror.example/app }`;
    await writeFile(config, `version: 1\nmirrors:\n  - ${mirror}\n`);

    const ended = await mirrorSync(['sync', '--config', config, '--to', archive, '--json']);
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect(summaryOf(ended)).toMatchObject({
      mirrored: 0,
      images: [],
      warnings: [{ source, repository: 'mirror.example/app', reason }],
    });
    const plain = await mirrorSync(['sync', '--config', config, '--to', archive]);
    expect(plain.stdout.split('\n').slice(-3)).toEqual([
      'warnings:',
      `  ${source} (as mirror.example/app): ${reason}`,
      '',
    ]);
  });

  test.each([
    ['--all-tags', false],
    ['a configuration', true],
  ])('for a refused second page, requested with %s', async (_, configured) => {
    await using paged = await startRegistry({ pageSize: 2 });
    for (const [i, tag] of ['a', 'b', 'c'].entries()) paged.push('team/app', sample(i), tag);
    paged.misbehave({ match: { kind: 'tags' }, after: 1, do: { status: 403 } });
    const name = `${paged.host}/team/app`;
    const config = folder.join('mirror.yaml');
    await writeFile(config, `version: 1\nmirrors:\n  - source: ${name}\n    tags: all\n`);
    const args = configured ? ['--config', config] : [name, '--all-tags'];

    const ended = await mirrorSync(['sync', ...args, '--to', archive, '--json']);
    expect(ended.code).toBe(1);
    const summary = summaryOf(ended);
    expect(summary).toMatchObject({ mirrored: 2, failed: 1 });
    const failed = summary.images.find(({ reference }) => reference === name);
    expect(failed).toMatchObject({ status: 'failed', reason: expect.stringMatching(/list tags.*403/) });
  });
});

// Two of three platforms are mirrored.
test('--platform selects images and keeps the digest of the index', async () => {
  const platforms = [
    { os: 'linux', architecture: 'amd64' },
    { os: 'linux', architecture: 'arm', variant: 'v7' },
    { os: 'windows', architecture: 'amd64' },
  ];
  const images = platforms.map((platform, i) => makeImage({ platform, layers: [makeLayer({ seed: 50 + i })] }));
  const index = makeIndex(images);
  registry.push('team/app', index, '1.0');
  const wanted = ['--platform', 'linux/amd64', '--platform', 'linux/arm/v7'];

  const ended = await mirrorSync(['sync', named('team/app:1.0'), ...wanted, '--to', archive, '--json']);
  expect(ended.code, ended.stdout).toBe(0);
  expect(summaryOf(ended).images[0]?.digest).toBe(index.digest);
  const fetched = images.map(({ layers }) => registry.count({ kind: 'blob', digest: layers[0]?.digest ?? '' }));
  expect(fetched).toEqual([1, 1, 0]);
  expect((await mirrorSync(['verify', archive])).code).toBe(0);

  const none = await mirrorSync([
    'sync',
    named('team/app:1.0'),
    '--platform',
    'linux/s390x',
    '--to',
    archive,
    '--json',
  ]);
  expect(none.code).toBe(1);
  expect(summaryOf(none).images[0]?.reason).toMatch(/linux\/s390x.*linux\/amd64/);
});

test('a second sync of a tag costs one HEAD and nothing else', async () => {
  registry.push('team/app', sample(1), '1.0');
  const args = ['sync', named('team/app:1.0'), '--to', archive, '--json'];
  expect((await mirrorSync(args)).code).toBe(0);
  registry.forgetRequests();
  const again = await mirrorSync(args);
  expect(again.code).toBe(0);
  expect(summaryOf(again)).toMatchObject({ mirrored: 0, unchanged: 1, failed: 0 });
  expect(registry.requests.map(({ method, path }) => `${method} ${path}`)).toEqual(['HEAD /v2/team/app/manifests/1.0']);
});

describe('--authfile', () => {
  const user = 'mirror';
  const password = 'a:pass word/ä';

  async function authfile(secret: string): Promise<string> {
    const path = folder.join('auth.json');
    const auth = Buffer.from(`${user}:${secret}`).toString('base64');
    await writeFile(path, JSON.stringify({ auths: { [registry.host]: { auth } } }));
    return path;
  }

  beforeEach(async () => {
    await registry.close();
    registry = await startRegistry({ auth: { kind: 'basic', user, password } });
    registry.push('team/app', sample(1), '1.0');
  });

  test('gives access to a private repository', async () => {
    const args = ['sync', named('team/app:1.0'), '--to', archive, '--authfile', await authfile(password)];
    expect(await mirrorSync(args)).toMatchObject({ code: 0 });
  });

  test('with a wrong password leads to an error without the password', async () => {
    const args = ['sync', named('team/app:1.0'), '--to', archive, '--authfile', await authfile('guessed')];
    const ended = await mirrorSync(args);
    expect(ended.code).toBe(1);
    expect(ended.stdout).toMatch(/401 UNAUTHORIZED/);
    expect(ended.stdout + ended.stderr).not.toMatch(/guessed|Basic /);
    const without = await mirrorSync(['sync', named('team/app:1.0'), '--to', archive], { HOME: folder.path });
    expect(without.code).toBe(1);
  });
});

describe('verify', () => {
  const image = sample(1);
  const sound = sample(2);

  async function damage(digest: string): Promise<void> {
    const path = join(archive, 'blobs', ...digest.split(':'));
    const content = await readFile(path);
    const middle = content.length >> 1;
    content[middle] = (content[middle] ?? 0) ^ 1;
    await writeFile(path, content);
  }

  beforeEach(async () => {
    registry.push('team/app', image, 'damaged');
    registry.push('team/app', sound, 'sound');
    const { code } = await mirrorSync(['sync', named('team/app'), '--all-tags', '--to', archive]);
    expect(code).toBe(0);
  });

  test.each([
    ['a layer', image.layers[1]?.digest ?? ''],
    ['a config', digestIn(image)],
    ['a manifest', image.digest],
  ])('names %s that is damaged, and every reference to it', async (_, digest) => {
    expect((await mirrorSync(['verify', archive])).code).toBe(0);
    await damage(digest);
    const ended = await mirrorSync(['verify', archive, '--json']);
    expect(ended).toMatchObject({ code: 1, stderr: '' });
    expect(jsonLines(ended)).toEqual([
      { type: 'problem', reference: named('team/app:damaged'), digest, reason: expect.stringMatching(/sha256:/) },
      expect.objectContaining({ type: 'summary', ok: false, problems: 1 }),
    ]);
    const plain = await mirrorSync(['verify', archive]);
    expect(plain).toMatchObject({ code: 1, stderr: '' });
    expect(plain.stdout).toContain(`${named('team/app:damaged')}: ${digest}: `);
  });
});

test('verify --repair lists the references to remove, and removes them with --yes', async () => {
  const [old, current] = [sample(1), sample(2)];
  for (const image of [old, current]) {
    registry.push('team/app', image, '1.0');
    expect((await mirrorSync(['sync', named('team/app:1.0'), '--to', archive])).code).toBe(0);
  }
  for (const image of [old, current]) await rm(join(archive, 'blobs', ...(image.layers[1]?.digest ?? '').split(':')));
  const before = await listed();
  const unasked = await mirrorSync(['verify', archive, '--repair']);
  expect(unasked).toMatchObject({ code: 2, stderr: expect.stringContaining('nothing was changed') as string });
  expect(unasked.stdout).toContain('--repair would remove 2 references');
  expect(await listed()).toEqual(before);
  const ended = await mirrorSync(['verify', archive, '--repair', '--yes']);
  expect(ended).toMatchObject({ code: 1, stderr: '' });
  expect(ended.stdout).toContain(`removed: ${named('team/app:1.0')} (the next sync restores it`);
  expect(ended.stdout).toContain(`removed: ${named(`team/app@${old.digest}`)} (no tag`);

  await mirrorSync(['sync', named('team/app:1.0'), '--to', archive]);
  await rm(join(archive, '.mirror/receipts'), { recursive: true });
  const again = await mirrorSync(['verify', archive, '--repair', '--json']);
  expect(again.code).toBe(1);
  expect(jsonLines(again).at(-1)).toMatchObject({ type: 'summary', ok: false, dropped: [], receipts: 2 });
  expect((await mirrorSync(['verify', archive])).code).toBe(0);
  expect(await listed()).toMatchObject([{ reference: named('team/app:1.0'), digest: current.digest }]);
});

test('convert writes an OCI image next to a schema 1 image', async () => {
  registry.push('team/old', makeSchema1(), '1.0');
  expect((await mirrorSync(['sync', named('team/old:1.0'), '--to', archive])).code).toBe(0);
  const ended = await mirrorSync(['convert', named('team/old:1.0'), archive]);
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  expect(ended.stdout).toMatch(new RegExp(`^${named('team/old:1.0-oci')}: converted {2}sha256:[0-9a-f]{64}\n$`));
  expect((await listed()).map(({ reference }) => reference)).toEqual(
    ['1.0', '1.0-oci'].map((tag) => named(`team/old:${tag}`)),
  );
  expect((await mirrorSync(['verify', archive])).code).toBe(0);
});

function digestIn(image: Image): string {
  return `sha256:${createHash('sha256').update(image.config).digest('hex')}`;
}
