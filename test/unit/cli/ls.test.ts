import { readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import type { Ended } from '../../kit/command-line.ts';
import { jsonLines } from '../../kit/command-line.ts';
import { digestOf } from '../../../lib/oci/digest.ts';
import { type Image, makeArtifact, makeImage, makeIndex, makeLayer } from '../../kit/images.ts';
import { runMain } from '../../kit/in-process.ts';
import type { TestRegistry } from '../../kit/registry.ts';
import { openScene } from '../../kit/scene.ts';

let registry: TestRegistry;
let archive: string;

beforeEach(async () => {
  ({ registry, archive } = await openScene());
});

const image = (seed: number): Image => makeImage({ layers: [makeLayer({ seed })] });
const named = (rest: string): string => `${registry.host}/${rest}`;
const sync = (...references: string[]): Promise<Ended> =>
  runMain(['sync', ...references.map(named), '--to', archive, '--json']);

// Two of the three layers are one blob.
test('the size of an image counts its manifest, its config and each of its layers once', async () => {
  const [base, top] = [makeLayer({ seed: 1 }), makeLayer({ seed: 2 })];
  const whole = makeImage({ layers: [base, top] });
  registry.push('team/app', whole, '1.0');
  await sync('team/app:1.0');
  const size = whole.manifest.length + whole.config.length + base.size + top.size;
  expect(jsonLines(await runMain(['ls', archive, '--json']))).toMatchObject([
    { type: 'reference', reference: named('team/app:1.0'), digest: whole.digest, size },
  ]);
});

test('a referrer is listed below the image that it refers to', async () => {
  const [app, other] = [image(1), image(2)];
  const sbom = makeArtifact({ subject: app, artifactType: 'application/spdx+json', blobs: [Buffer.from('sbom')] });
  const signature = makeArtifact({ subject: sbom, artifactType: 'a/b', blobs: [Buffer.from('signature')] });
  registry.push('team/app', makeIndex([app]), '1.0');
  registry.push('team/app', other, '2.0');
  for (const each of [sbom, signature]) registry.push('team/app', each);
  const synced = await sync('team/app:1.0', 'team/app:2.0');
  expect(jsonLines(synced).at(-1)).toMatchObject({ mirrored: 2, referrers: 2, images: { length: 2 } });
  const rows = jsonLines(await runMain(['ls', archive, '--json']));
  expect(rows).toMatchObject([
    { reference: named('team/app:1.0') },
    { digest: sbom.digest, subject: app.digest, artifactType: 'application/spdx+json' },
    { digest: signature.digest, subject: sbom.digest, artifactType: 'a/b' },
    { reference: named('team/app:2.0') },
  ]);
  const { stdout } = await runMain(['ls', archive]);
  expect(stdout).toContain(`\n  ${named(`team/app@${sbom.digest}`)} (application/spdx+json)`);
  expect(stdout).toContain(`\n    ${named(`team/app@${signature.digest}`)} (a/b)`);
});

test('a chain of referrers of any length is listed in its order', async () => {
  registry.push('team/app', image(1), '1.0');
  await sync('team/app:1.0');
  const path = join(archive, 'repositories', registry.host.replace(':', '_'), 'team/app/index.json');
  const index = JSON.parse(await readFile(path, 'utf8')) as { manifests: Record<string, unknown>[] };
  const digests = [
    index.manifests[0]?.['digest'],
    ...Array.from({ length: 8_000 }, (_, at) => digestOf(Buffer.from(`${at}`))),
  ];
  for (const [at, digest] of digests.entries())
    if (at > 0)
      index.manifests.push({
        ...{ mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 2 },
        annotations: { 'dev.mirror-sync.subject': digests[at - 1] },
      });
  await writeFile(path, JSON.stringify(index));
  const { stdout, code } = await runMain(['ls', archive]);
  expect(code).toBe(0);
  const lines = stdout.trimEnd().split('\n').slice(1, -1);
  expect(lines.map((line) => /sha256:[0-9a-f]{64}/.exec(line)?.[0])).toEqual(digests);
  expect(Math.max(...lines.map((line) => line.search(/\S/)))).toBe(32);
});

test('a digest that a tag has left is listed with that tag and the time of the replacement', async () => {
  const [old, current] = [image(1), image(2)];
  for (const each of [old, current]) {
    registry.push('team/app', each, 'latest');
    await sync('team/app:latest');
  }
  const [tagged, left] = jsonLines(await runMain(['ls', archive, '--json'])) as {
    readonly observed: string;
    readonly replaced?: string;
  }[];
  expect(tagged).toMatchObject({ reference: named('team/app:latest'), digest: current.digest });
  expect(tagged).not.toHaveProperty('replaced');
  expect(left).toMatchObject({
    reference: named(`team/app@${old.digest}`),
    hadTag: 'latest',
    replaced: tagged?.observed,
  });
  const { stdout } = await runMain(['ls', archive]);
  expect(stdout).toContain(`${named(`team/app@${old.digest}`)} (was latest until ${tagged?.observed ?? ''})  `);
});

test.each([60, 200])('a terminal of %d columns shows short digests in lines that fit', async (columns) => {
  const [old, current] = [image(1), image(2)];
  for (const each of [old, current]) {
    registry.push('team/app', each, 'latest');
    await sync('team/app:latest');
  }
  const { stdout } = await runMain(['ls', archive], { isTTY: true, columns });
  for (const line of stdout.split('\n')) if (/\S \S/.test(line)) expect(line.length, line).toBeLessThan(columns);
  for (const { digest } of [old, current]) expect(stdout).toContain(`  ${digest.slice(7, 19)}  `);
  expect(stdout).toContain(named(`team/app@${old.digest}`));
});

test('only the named repositories are listed', async () => {
  for (const name of ['a', 'b', 'c']) registry.push(`team/${name}`, image(1), '1.0');
  await sync('team/a:1.0', 'team/b:1.0', 'team/c:1.0');
  const ended = await runMain(['ls', archive, named('team/c'), named('team/a'), '--json']);
  expect((jsonLines(ended) as { reference: string }[]).map(({ reference }) => reference)).toEqual([
    named('team/a:1.0'),
    named('team/c:1.0'),
  ]);
  const unknown = await runMain(['ls', archive, named('team/d')]);
  expect(unknown).toMatchObject({ code: 2, stdout: '' });
  expect(unknown.stderr).toBe(
    `mirror-sync ls: list ${named('team/d')}: it is not in ${archive}; did you mean ${named('team/a')}?\n`,
  );
});

test('an image with a damaged manifest is incomplete, and one that the system does not open is an error', async () => {
  const app = image(1);
  registry.push('team/app', app, '1.0');
  await sync('team/app:1.0');
  const manifest = join(archive, 'blobs', app.digest.replace(':', '/'));
  await writeFile(manifest, 'damaged');
  expect(await runMain(['ls', archive])).toMatchObject({ code: 0, stdout: expect.stringContaining('  incomplete  ') });
  // A link to itself fails as a file without permission does, also for root.
  await rm(manifest);
  await symlink(manifest, manifest);
  expect(await runMain(['ls', archive])).toMatchObject({
    code: 1,
    stdout: '',
    stderr: expect.stringContaining('its path has too many symbolic links'),
  });
});

test('status shows the last sync that changed an image, and explains that others leave no results', async () => {
  registry.push('team/app', image(1), '1.0');
  await sync('team/app:1.0');
  const { stdout, code } = await runMain(['status', archive]);
  expect(code).toBe(0);
  expect(stdout).toMatch(
    /\n {2}mirrored {2}[^ ]*team\/app:1.0 {2}sha256:.*\nfinished .*: 1 mirrored, 0 unchanged, 0 failed\n$/,
  );
  await rm(join(archive, '.mirror/runs'), { recursive: true });
  await sync('team/app:1.0');
  const ended = await runMain(['status', archive]);
  expect(ended).toMatchObject({ code: 2, stdout: '' });
  expect(ended.stderr).toMatch(/^mirror-sync status: read run reports of [^:]*: there are none; each run on AWS/);
});
