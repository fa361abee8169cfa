import { expect } from 'vitest';
import { Failure, type FailureCode } from '../../../lib/core/failure.ts';
import type { BlobBody, Source, Sources } from '../../../lib/registry/source.ts';
import { createSources, type SourcesOptions } from '../../../lib/registry/sources.ts';
import type { Reply } from '../../kit/http-server.ts';
import type { Image } from '../../kit/images.ts';

export interface TestSources extends AsyncDisposable {
  readonly sources: Sources;
  /** Milliseconds that were skipped instead of waited. */
  readonly waits: number[];
  /** The waits so far. */
  readonly failures: Failure[];
  /** Advances the clock by this number of milliseconds. */
  readonly advance: (ms: number) => void;
  readonly at: (host: string, path?: string) => Source;
}

/** Sources that never sleep. Their waits are the upper bounds, and their clock advances by the waits. */
export function testSources(options: SourcesOptions = {}): TestSources {
  const waits: number[] = [];
  let time = Date.now();
  const failures: Failure[] = [];
  const sources = createSources({
    retry: { tries: 3, baseMs: 100, capMs: 1000 },
    random: () => 1,
    sleep: (ms) => {
      waits.push(ms);
      time += ms;
      return Promise.resolve();
    },
    now: () => time,
    onRetry: ({ failure }) => failures.push(failure),
    ...options,
  });
  return {
    sources,
    waits,
    failures,
    advance: (ms) => {
      time += ms;
    },
    at: (host, path = 'library/alpine') => sources.repository({ host, path }),
    [Symbol.asyncDispose]: () => sources.close(),
  };
}

export async function collect({ body }: BlobBody): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The Failure that `work` rejects with; anything else fails the test. */
export async function failureOf(work: Promise<unknown>, code?: FailureCode): Promise<Failure> {
  const thrown = await work.then(
    () => expect.fail('it should have failed'),
    (error: unknown) => error,
  );
  expect(thrown).toBeInstanceOf(Failure);
  const failure = thrown as Failure;
  expect(failure.side).toBe('source');
  if (code !== undefined) expect(failure, failure.message).toMatchObject({ code });
  return failure;
}

export const NOT_FOUND: Reply = [404, {}, '{"errors":[{"code":"MANIFEST_UNKNOWN"}]}'];

/** The response of a registry whose only content is the manifest of an image. */
export function manifestAt(path: string, { manifest, mediaType, digest }: Image): Reply {
  return path.includes('/manifests/')
    ? [200, { 'content-type': mediaType, 'docker-content-digest': digest }, manifest]
    : NOT_FOUND;
}
