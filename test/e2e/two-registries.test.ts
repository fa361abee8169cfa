import { expect, test, vi } from 'vitest';
import { FolderStore } from '../../lib/store/folder/store.ts';
import { digestOf } from '../../lib/oci/digest.ts';
import type { Queues } from '../../lib/queue/queue.ts';
import { type Image, makeImage, makeLayer } from '../kit/images.ts';
import type { Match } from '../kit/misbehave.ts';
import { mirror } from '../kit/mirror.ts';
import { Archive } from '../../lib/archive/archive.ts';
import { ociLayout } from '../../lib/archive/oci-layout.ts';
import { startRegistry } from '../kit/registry.ts';
import { tempFolder } from '../kit/temp.ts';

// The download from one registry stalls in its second part. The message of the other registry waits, and then finds
// the blob.
test('a blob of two registries is fetched once', async () => {
  const layer = makeLayer({ seed: 7, size: 12_000_000, compression: 'none' });
  await using one = await startRegistry();
  await using other = await startRegistry();
  for (const registry of [one, other]) registry.push('team/app', makeImage({ layers: [layer] }), '1');
  const stalls = [one, other].map((registry) =>
    registry.misbehave({ match: { digest: layer.digest }, after: 1, times: 1, do: { stallAfter: 100_000 } }),
  );
  let ordered = 0;
  const wrapQueues = (queues: Queues): Queues => ({
    async send(queue, messages, options) {
      await queues.send(queue, messages, options);
      if (queue === 'layer') ordered += messages.length;
    },
  });
  await using folder = await tempFolder();
  await using store = new FolderStore(folder.path);
  const mirroring = mirror({ store, references: [one, other].map(({ host }) => `${host}/team/app:1`), wrapQueues });
  await Promise.race(stalls.map(({ begun }) => begun));
  await vi.waitUntil(() => ordered === 2, { timeout: 30_000 });
  for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
  for (const stall of stalls) stall.stop();
  const { outcomes, events } = await mirroring;
  expect(outcomes.map(({ status, reason }) => reason ?? status)).toEqual(['mirrored', 'mirrored']);
  const phases = events.flatMap((event) => (event.type === 'blob' && event.phase !== 'progress' ? [event.phase] : []));
  expect(phases).toEqual(['started', 'stored', 'present']);
  expect(one.count({ digest: layer.digest }) * other.count({ digest: layer.digest })).toBe(0);
});

test.each([
  ['blobs', 'blob'],
  ['manifests', 'manifest'],
  ['tag lists', 'tags'],
] as const)('a registry that never sends its %s does not delay another one', async (_, kind) => {
  await mirrorsBeside(
    () => ({ kind }),
    (seed, size) => makeImage({ layers: [makeLayer({ seed, size })] }),
  );
});

// A large manifest is fetched again by its digest when it has its turn, and parsed again when its config has arrived.
test.each([
  ['large manifests', (image: Image) => ({ kind: 'manifest', digest: image.digest }) as const],
  ['configs of large manifests', (image: Image) => ({ digest: digestOf(image.config) }) as const],
])('a registry that never sends its %s does not delay the large manifests of another one', async (_, match) => {
  const annotations = { padding: 'x'.repeat(300_000) };
  await mirrorsBeside(match, (seed) =>
    makeImage({ layers: [makeLayer({ seed, size: 1_000 })], overrides: { manifest: { annotations } } }),
  );
});

/**
 * Mirrors twenty images of one registry beside twenty of another one that never sends a part of its content. Neither
 * registry reaches a time limit: the run is stopped when the images of the first one are complete.
 */
async function mirrorsBeside(
  missing: (image: Image) => Match,
  imageOf: (seed: number, layerBytes: number) => Image,
): Promise<void> {
  await using silent = await startRegistry();
  await using other = await startRegistry();
  const repositories = Array.from({ length: 20 }, (_, at) => `team/app${at}`);
  for (const [at, repository] of repositories.entries()) {
    const image = imageOf(at, 5_000_000);
    silent.push(repository, image, '1');
    silent.misbehave({ match: missing(image), do: { noAnswer: true } });
    other.push(repository, imageOf(100 + at, 1_000), '1');
  }
  await using folder = await tempFolder();
  await using store = new FolderStore(folder.path);
  const stop = new AbortController();
  const references = [silent, other].flatMap(({ host }) => repositories.map((repository) => `${host}/${repository}`));
  const mirroring = mirror({ store, references, signal: stop.signal });
  const archive = new Archive(store, ociLayout);
  await vi.waitUntil(
    async () => {
      const indexes = await Promise.all(
        repositories.map((repository) => archive.tagIndex(`${other.host}/${repository}`)),
      );
      return indexes.every((read) => read?.index.byTag('1') !== undefined);
    },
    { timeout: 20_000, interval: 50 },
  );
  stop.abort();
  const { outcomes } = await mirroring;
  expect(outcomes.filter(({ status }) => status === 'mirrored')).toHaveLength(repositories.length);
}
