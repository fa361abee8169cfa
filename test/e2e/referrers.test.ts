/** Stock tools find the same referrers in a served archive as in its source. */
import { symlink } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';
import { cosignTags, referrersTag } from '../../lib/oci/referrer-tags.ts';
import { mirrorSync } from '../kit/command-line.ts';
import { makeArtifact, makeImage, makeIndex, makeLayer, type Pushable } from '../kit/images.ts';
import { describeWith, run } from '../kit/real.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { serving } from '../kit/serving.ts';
import { tempFolder } from '../kit/temp.ts';

const IMAGES = [1, 2].map((seed) => makeImage({ layers: [makeLayer({ seed })] }));
const ATTESTATION = makeArtifact({
  platform: { os: 'unknown', architecture: 'unknown' },
  annotations: {
    'vnd.docker.reference.type': 'attestation-manifest',
    'vnd.docker.reference.digest': IMAGES[0]!.digest,
  },
});
const INDEX = makeIndex([...IMAGES, ATTESTATION]);
const refer = (subject: Pushable, text: string): Pushable =>
  makeArtifact({ subject, artifactType: `application/x.${text.split(' ')[0]}`, blobs: [Buffer.from(text)] });
const SBOMS = IMAGES.map((image, at) => refer(image, `sbom ${at}`));
const SIGNATURES = [1, 2, 3].map((at) => refer(INDEX, `signature ${at}`));
const NESTED = refer(SBOMS[0]!, 'signature of an sbom');
const LONELY = refer(makeImage({ layers: [] }), 'sbom of a missing image');
const COSIGN = makeArtifact({ blobs: [Buffer.from('cosign')] });
const [SIG = ''] = cosignTags(INDEX.digest).map(({ tag }) => tag);

/** The digests of a tree and their indentation, without the host and in one order per level. */
function treeOf(text: string): readonly string[] {
  return text
    .split('\n')
    .flatMap((line) => /^(.*?)(sha256:[0-9a-f]{64})/.exec(line)?.slice(1).join('') ?? [])
    .map((line) => line.replaceAll(/[├└│─]/g, ' ').replace(/\S+@/, ''))
    .sort();
}

function push(registry: TestRegistry, hasApi: boolean): void {
  registry.push('team/app', INDEX, '1');
  registry.push('team/app', LONELY, 'lonely');
  registry.push('team/app', COSIGN, SIG);
  for (const each of [...SBOMS, ...SIGNATURES, NESTED]) registry.push('team/app', each);
  if (hasApi) return;
  const lists = [
    [INDEX, SIGNATURES],
    ...IMAGES.map((image, at) => [image, [SBOMS[at]!]] as const),
    [SBOMS[0]!, [NESTED]],
  ] as const;
  for (const [subject, referrers] of lists)
    registry.push('team/app', makeIndex(referrers), referrersTag(subject.digest));
}

describeWith(['oras', 'regctl'], 'referrers', () => {
  describe.each([true, false])('of a registry with the API (%o)', (hasApi) => {
    test('are the same for stock tools in the source and in the served archive', async () => {
      await using registry = await startRegistry({ referrers: hasApi, ...(hasApi ? { referrersPageSize: 2 } : {}) });
      await using folder = await tempFolder();
      push(registry, hasApi);
      const archive = folder.join('archive');
      const source = `${registry.host}/team/app`;
      const synced = await mirrorSync(['sync', `${source}:1`, `${source}:lonely`, '--to', archive]);
      expect(synced).toMatchObject({ code: 0 });
      expect(synced.stdout).toContain(`2 mirrored, 0 unchanged, 0 failed and 7 referrers`);
      await using served = await serving(archive);
      const mirror = `${served.host}/${registry.host.replace(':', '_')}/team/app`;
      const both = [source, mirror];
      for (const reference of [':1', ':lonely', ...IMAGES.map(({ digest }) => `@${digest}`)]) {
        const oras = both.map((name) =>
          run('oras', ['discover', '--plain-http', '--format', 'tree', `${name}${reference}`]),
        );
        const [upstream, archived] = (await Promise.all(oras)).map(treeOf);
        expect(archived).toEqual(upstream);
      }
      const hosts = both.flatMap((name) => ['--host', `reg=${name.split('/')[0] ?? ''},tls=disabled`]);
      const tree = both.map((name) => run('regctl', [...hosts, 'artifact', 'tree', '--digest-tags', `${name}:1`]));
      const [upstream = [], archived] = (await Promise.all(tree)).map(treeOf);
      expect(archived).toEqual(upstream);
      for (const { digest } of [...SBOMS, ...SIGNATURES, NESTED]) expect(upstream.join('\n')).toContain(digest);

      // The link that the README describes.
      const layout = join(archive, 'repositories', source.replace(':', '_'));
      await symlink(relative(layout, join(archive, 'blobs')), join(layout, 'blobs'));
      const ofFolder = await run('oras', ['discover', '--oci-layout', '--format', 'tree', `${layout}:1`]);
      for (const { digest } of SIGNATURES) expect(ofFolder).toContain(digest);
    });
  });
});
