/** Each client copies each kind of image from a served archive with the digest of upstream, or refuses it as the matrix says. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mirrorSync, summaryOf } from '../kit/command-line.ts';
import { makeImage, makeLayer, type Pushable } from '../kit/images.ts';
import { KINDS } from '../kit/kinds.ts';
import { CLIENTS, matrixTable } from '../kit/matrix.ts';
import { describeWith } from '../kit/real.ts';
import { startS3Server } from '../kit/s3-server.ts';
import { IMAGES, type Mirrored, mirrorImages, type Serving, serving } from '../kit/serving.ts';
import { skippedFor } from '../kit/skipped.ts';

const LAYERS = [makeLayer({ seed: 21 }), makeLayer({ seed: 22 })];
const MANY = makeImage({ layers: Array.from({ length: 120 }, (_, at) => LAYERS[at % 2]!) });
const TAGGED: ReadonlyMap<string, Pushable> = new Map([...IMAGES, ['120-layers', MANY]]);

function kindOf(tag: string): string {
  return tag.startsWith('kind-') ? KINDS[Number(tag.slice('kind-'.length))]!.name : tag;
}

let mirrored: Mirrored;
beforeAll(async () => {
  mirrored = await mirrorImages(TAGGED);
});
afterAll(() => mirrored[Symbol.asyncDispose]());

/** Copies every image with every client that is installed. */
function copies(title: string, serve: () => Promise<Serving>): void {
  for (const client of CLIENTS)
    describeWith([client.name], `${client.name} and ${title}`, () => {
      test('copies each kind as the matrix says', async () => {
        await using served = await serve();
        for (const [tag, { digest }] of TAGGED) {
          const kind = kindOf(tag);
          const folder = mirrored.folder.join(`${title}-${client.name}-${tag}`.replaceAll(' ', '-'));
          const copying = client.copy(served.host, `${mirrored.name}:${tag}`, folder);
          const refusal = new Map(Object.entries(client.refuses)).get(kind);
          if (refusal === undefined) expect([kind, await copying]).toEqual([kind, digest]);
          else await expect(copying, kind).rejects.toThrow(refusal);
        }
      });
    });
}

copies('a folder', () => serving(mirrored.archive));

const server = await startS3Server();
if ('skipped' in server)
  describe('an archive in S3', () => {
    skippedFor(server.skipped);
  });
else {
  let archive: string;
  beforeAll(async () => {
    archive = `s3://${await server.bucket()}/archive`;
    const from = `${mirrored.registry.host}/team/app`;
    const synced = await mirrorSync(['sync', from, '--all-tags', '--to', archive, '--json'], server.env);
    expect(summaryOf(synced)).toMatchObject({ failed: 0 });
  });
  afterAll(() => server.close());
  copies('S3', () => serving(archive, [], server.env));
}

test('the documentation has the matrix', async () => {
  const page = await readFile(join(import.meta.dirname, '../../docs/serve.md'), 'utf8');
  const cells = (text: string): string => text.replaceAll(/ +|-{3,}/g, ' ');
  expect(cells(page)).toContain(cells(matrixTable()));
});
