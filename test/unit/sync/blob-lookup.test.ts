import { expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { digestOf } from '../../../lib/oci/digest.ts';
import { BlobLookup } from '../../../lib/sync/resolver/blob-lookup.ts';
import { MemoryStore } from '../../kit/memory-store.ts';

/** A store that records the signal of each call. */
class Recorder extends MemoryStore {
  readonly calls: [string, AbortSignal | undefined][] = [];

  override get(...args: Parameters<MemoryStore['get']>) {
    this.calls.push(['get', args[1].signal]);
    return super.get(...args);
  }

  override head(...args: Parameters<MemoryStore['head']>) {
    this.calls.push(['head', args[1]?.signal]);
    return super.head(...args);
  }

  override uploads(...args: Parameters<MemoryStore['uploads']>) {
    this.calls.push(['uploads', args[1]?.signal]);
    return super.uploads(...args);
  }
}

test('every request of a lookup of a missing blob can be aborted', async () => {
  const store = new Recorder();
  const { signal } = new AbortController();
  const lookup = new BlobLookup(new Archive(store, ociLayout), { source: 'docker.io/library/alpine', now: 0, signal });
  const blob = {
    digest: digestOf(Buffer.from('layer')),
    size: 5,
    mediaType: 'application/vnd.oci.image.layer.v1.tar',
    compression: 'none',
  } as const;
  expect(await lookup.find(blob)).toBe('receipt');
  expect(store.calls).toEqual([
    ['get', signal],
    ['uploads', signal],
    ['head', signal],
  ]);
});
