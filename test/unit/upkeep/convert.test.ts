import { beforeAll, describe, expect, test } from 'vitest';
import { convertSchema1 } from '../../../lib/upkeep/convert.ts';
import { verifyArchive } from '../../../lib/upkeep/verify.ts';
import type { Digest } from '../../../lib/oci/digest.ts';
import { parseReference } from '../../../lib/oci/reference.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { mirror } from '../../kit/mirror.ts';
import { startRegistry } from '../../kit/registry.ts';
import { makeSchema1 } from '../../kit/schema1.ts';
import { NEVER, Rig } from '../sync/rig.ts';

const BASE = makeLayer({ seed: 1 });
const THROWAWAY = makeLayer({ seed: 2 });
const TOP = makeLayer({ seed: 3 });
const OLD = makeSchema1({
  layers: [BASE, THROWAWAY, TOP],
  v1: (index) => (index === 1 ? { throwaway: true } : {}),
});

let name: string;

/** An archive with a schema 1 image and an OCI image. */
async function archived(): Promise<Rig> {
  await using registry = await startRegistry();
  registry.push('library/old', OLD, '1');
  registry.push('library/old', makeImage({ layers: [BASE] }), '2');
  name = `${registry.host}/library/old`;
  const rig = new Rig();
  await mirror({ store: rig.store, references: [name] });
  return rig;
}

function convert(rig: Rig, reference: string, as: string, now = Date.now() + 1000): Promise<Digest> {
  return convertSchema1(rig.archive, parseReference(reference), { as, now, signal: NEVER });
}

async function json(rig: Rig, digest: Digest): Promise<Record<string, unknown>> {
  return JSON.parse((await rig.blob(digest))!.toString()) as Record<string, unknown>;
}

describe('convert', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await archived();
    return () => rig[Symbol.asyncDispose]();
  });

  // The OCI image has only the layers that are not throwaway, and its config has their proven diffIDs.
  test('writes an OCI image with proven layers next to a schema 1 image', async () => {
    const digest = await convert(rig, `${name}:1`, '1-oci');
    const index = (await rig.archive.tagIndex(name))!.index;
    expect(index.byTag('1-oci')).toMatchObject({ digest, mediaType: 'application/vnd.oci.image.manifest.v1+json' });
    expect(index.byTag('1')?.digest).toBe(OLD.digest);
    const manifest = await json(rig, digest);
    expect(manifest['layers']).toEqual(
      [BASE, TOP].map(({ digest: of, size }) => ({
        mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
        digest: of,
        size,
      })),
    );
    const config = await json(rig, (manifest['config'] as { digest: Digest }).digest);
    expect(config).toMatchObject({
      os: 'linux',
      architecture: 'amd64',
      config: { Cmd: ['/bin/true'] },
      rootfs: { type: 'layers', diff_ids: [BASE.diffId, TOP.diffId] },
    });
    expect(config['history']).toMatchObject([{}, { empty_layer: true }, {}]);
    expect(await verifyArchive(rig.archive, { signal: NEVER, concurrency: 1 })).toMatchObject({ problems: [] });
    // A repetition has the same result.
    expect(await convert(rig, `${name}@${OLD.digest}`, '1-oci')).toBe(digest);
  });

  test.each<[string, () => string, string, RegExp]>([
    ['an image that is not schema 1', () => `${name}:2`, 'x', /it is not a schema 1 image/],
    ['a missing image', () => `${name}:3`, 'x', /it is not in /],
    ['its own tag', () => `${name}:1`, '1', /which the next sync would move back/],
  ])('refuses %s', async (_, reference, as, why) => {
    const failure = expect.objectContaining({ side: 'input', message: expect.stringMatching(why) as unknown }) as Error;
    await expect(convert(rig, reference(), as)).rejects.toEqual(failure);
  });

  // The diffID of such a layer is unknown.
  test('refuses an image with an unproven layer', async () => {
    await using lacking = await archived();
    await lacking.store.delete(lacking.archive.layout.receipt(TOP.digest));
    const message = `convert ${name}:1: the archive has no proof of ${TOP.digest}; sync it again`;
    await expect(convert(lacking, `${name}:1`, 'x')).rejects.toMatchObject({
      code: 'corrupt',
      side: 'archive',
      message,
    });
    expect((await lacking.archive.tagIndex(name))!.index.byTag('x')).toBeUndefined();
  });
});
