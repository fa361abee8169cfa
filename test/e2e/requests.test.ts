/** The requests of a mirror to a real S3 server: docs/decisions/0003 describes the counts. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Archive } from '../../lib/archive/archive.ts';
import { ociLayout } from '../../lib/archive/oci-layout.ts';
import { DEFAULT_PART_BYTES } from '../../lib/store/parts.ts';
import type { S3Store } from '../../lib/store/s3/store.ts';
import { runLocal } from '../../lib/app/local-run.ts';
import { parseReference } from '../../lib/oci/reference.ts';
import { ordersTo } from '../../lib/app/start.ts';
import { createSources } from '../../lib/registry/sources.ts';
import { randomBytes } from '../kit/content.ts';
import { layerOf, makeImage } from '../kit/images.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { describeWithS3 } from '../kit/s3-suite.ts';
import { messageFor, Rig } from '../unit/sync/rig.ts';

const PARTS = 3;
const BYTES = randomBytes((PARTS - 1) * DEFAULT_PART_BYTES + 1000, 5);
const LAYER = layerOf(BYTES, BYTES, 'none');
const SMALL = layerOf(BYTES.subarray(0, 1000), BYTES.subarray(0, 1000), 'none');

/** A fresh blob of `PARTS` parts: its receipt is looked up, the upload is created, and the receipt is written. */
const FRESH = { GetObject: 1, CreateMultipartUpload: 1, UploadPart: PARTS, CompleteMultipartUpload: 1, PutObject: 1 };

function total(requests: Readonly<Record<string, number>>): number {
  return Object.values(requests).reduce((sum, count) => sum + count, 0);
}

await describeWithS3('requests', (server) => {
  let registry: TestRegistry;
  beforeEach(async () => {
    registry = await startRegistry();
    registry.push('library/app', makeImage({ layers: [LAYER] }), '1');
    registry.push('library/app', makeImage({ layers: [LAYER, SMALL] }), '2');
  });
  afterEach(() => registry.close());

  describe('the layer role', () => {
    async function cost(store: S3Store, message: Parameters<Rig['copy']>[0]): Promise<Record<string, number>> {
      const before = store.requests();
      await using rig = new Rig({ store, bufferBytes: 5 * DEFAULT_PART_BYTES });
      await rig.copy(message);
      expect(rig.sent('finalize')[0]?.failure).toBeUndefined();
      const spent = Object.entries(store.requests()).map(
        ([name, count]) => [name, count - (before[name] ?? 0)] as const,
      );
      return Object.fromEntries(spent.filter(([, count]) => count > 0));
    }

    test('costs n + 4 requests for a fresh blob of n parts', async () => {
      const spent = await cost(await server.store(), messageFor(registry, LAYER));
      expect(spent).toEqual(FRESH);
      expect(total(spent)).toBe(PARTS + 4);
    });

    test('costs three requests for a fresh blob of one part', async () => {
      expect(await cost(await server.store(), messageFor(registry, SMALL))).toEqual({ GetObject: 1, PutObject: 2 });
    });

    test('costs one request for a known blob', async () => {
      const store = await server.store();
      await cost(store, messageFor(registry, LAYER));
      for (const look of ['receipt', 'everything'] as const)
        expect(await cost(store, messageFor(registry, LAYER, { look }))).toEqual({ GetObject: 1 });
    });
  });

  describe('a complete sync', () => {
    const cost = async (bucket: string, ...tags: readonly string[]): Promise<Record<string, number>> => {
      const store = await server.store({ bucket });
      const sources = createSources();
      const run = `run-${String(Math.random()).slice(2)}`;
      const references = tags.map((tag) => parseReference(`${registry.host}/library/app:${tag}`));
      const statuses: string[] = [];
      try {
        await runLocal({
          archive: new Archive(store, ociLayout),
          sources,
          observe: (event) => {
            if (event.type === 'image' && event.status !== 'pending') statuses.push(event.status);
          },
          signal: new AbortController().signal,
          concurrency: 1,
          messages: ordersTo(references, (source) => [{ run, source, repository: source, platforms: 'all' }]),
        });
      } finally {
        await sources.close();
      }
      expect(statuses).not.toContain('failed');
      return store.requests();
    };

    test('costs a fixed number of requests for one image of one blob, and one for a second sync', async () => {
      const bucket = await server.bucket();
      const spent = await cost(bucket, '1');
      // In addition to the blob's own requests, the resolver looks up tag index, config, receipt, object and uploads, and
      // writes manifest and config. The finalizer reads receipt (twice), manifest, config and tag index, and
      // writes the repository's marker and its tag index.
      const { PutObject: receipt, GetObject: lookup, ...parts } = FRESH;
      expect(spent).toEqual({
        ...parts,
        GetObject: lookup + 3 + 5,
        HeadObject: 1,
        ListMultipartUploads: 1,
        PutObject: receipt + 2 + 2,
      });
      expect(total(spent)).toBe(PARTS + 4 + 14);
      expect(await cost(bucket, '1')).toEqual({ GetObject: 1 });
    });

    // The resolver looks up each blob once, and the second image's message finds the receipt.
    test('fetches a common layer of two images once', async () => {
      const spent = await cost(await server.bucket(), '1', '2');
      const { PutObject: _, GetObject: __, ...parts } = FRESH;
      expect(spent).toMatchObject({ ...parts, HeadObject: 2, ListMultipartUploads: 1 });
    });
  });
});
