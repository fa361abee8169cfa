/** The library in this process, against a registry of the kit. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type ArchiveHandle, Failure, type MirrorEvent, openArchive, sync, verify } from '../../lib/index.ts';
import { makeImage, makeLayer } from '../kit/images.ts';
import { MemoryStore } from '../kit/memory-store.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { tempFolder, type TempFolder } from '../kit/temp.ts';

const IMAGE = makeImage({ layers: [makeLayer({ seed: 1 })] });
/** The credentials of the tester are not used. */
const env = { DOCKER_CONFIG: '/nowhere' };

let registry: TestRegistry;
beforeAll(async () => {
  registry = await startRegistry();
  for (const tag of ['1.0', '1.1', '2.0']) registry.push('team/app', IMAGE, tag);
});
afterAll(() => registry.close());

let folder: TempFolder;
beforeEach(async () => {
  folder = await tempFolder();
});
afterEach(() => folder.remove());

async function tagsOf(archive: ArchiveHandle): Promise<(string | undefined)[]> {
  return (await archive.tagIndex(`${registry.host}/team/app`)).map(({ tag }) => tag);
}

describe('sync', () => {
  test('mirrors into an object store of the caller', async () => {
    await using archive = await openArchive(new MemoryStore());
    const events: MirrorEvent[] = [];
    const options = { to: archive, env, onEvent: (event: MirrorEvent) => events.push(event) };
    const result = await sync([`${registry.host}/team/app:1.0`], options);
    expect(result).toMatchObject({ mirrored: 1, failed: 0, images: [{ digest: IMAGE.digest, status: 'mirrored' }] });
    expect(events.at(-1)).toMatchObject({ type: 'image', status: 'mirrored' });
    expect(await tagsOf(archive)).toEqual(['1.0']);
    expect(await Array.fromAsync(archive.repositories())).toEqual([`${registry.host}/team/app`]);
    expect(await archive.content(IMAGE.digest, { maxBytes: 10_000 })).toEqual(new Uint8Array(IMAGE.manifest));
    expect(await verify(archive)).toMatchObject({ references: 1, objects: 3, problems: [] });
  });

  test('mirrors the tags that match a pattern, and closes a folder that it opened', async () => {
    const to = folder.join('archive');
    expect(await sync([`${registry.host}/team/app`], { to, env, tags: ['1.*'] })).toMatchObject({ mirrored: 2 });
    await using archive = await openArchive(to);
    expect(await tagsOf(archive)).toEqual(['1.0', '1.1']);
  });

  test('reports a wait of a second or more as a notice', async () => {
    registry.misbehave({ match: { kind: 'manifest' }, times: 1, do: { status: 429, headers: { 'retry-after': '1' } } });
    const notices: string[] = [];
    const to = folder.join('archive');
    const onNotice = (text: string): void => void notices.push(text);
    expect(await sync([`${registry.host}/team/app:1.0`], { to, env, onNotice })).toMatchObject({ mirrored: 1 });
    expect(notices).toEqual([expect.stringContaining('trying again in 1')]);
  });

  test('resolves with a failed image, and with its reason', async () => {
    const result = await sync([`${registry.host}/team/app:9`], { to: folder.join('archive'), env });
    expect(result).toMatchObject({ failed: 1, images: [{ status: 'failed', code: 'manifest-unknown' }] });
  });

  test('rejects with the reason of its signal', async () => {
    const signal = AbortSignal.abort(new Error('enough'));
    const to = folder.join('archive');
    await expect(sync([`${registry.host}/team/app:1.0`], { to, env, signal })).rejects.toThrow('enough');
  });

  test.for([
    ['no reference', [], {}, 'expected at least one reference or a config, got none'],
    ['a tag beside patterns', ['alpine:1'], { tags: ['*'] }, 'it names one image; with tags, name only the repository'],
    ['a concurrency of zero', ['alpine'], { concurrency: 0 }, 'expected concurrency from 1 to 64, got 0'],
    ['a wait that is not a number', ['alpine'], { maxWaitMs: NaN }, 'expected maxWaitMs from 0, got NaN'],
    ['a negative wait', ['alpine'], { maxWaitMs: -1 }, 'expected maxWaitMs from 0, got -1'],
    [
      'an unknown choice for foreign layers',
      ['alpine'],
      { foreignLayers: 'no' as 'skip' },
      'expected foreignLayers fetch or skip, got "no"',
    ],
    [
      'a setting beside a configuration',
      [],
      { config: '/nowhere/mirror.yaml', platforms: ['linux/amd64'] },
      'platforms is for references without a config; a mirror.yaml has a setting for it',
    ],
    ['an unknown platform', ['alpine'], { platforms: ['linux'] }, 'parse platform "linux"'],
    ['a configuration that is missing', [], { config: '/nowhere/mirror.yaml' }, '/nowhere/mirror.yaml'],
  ] as const)('rejects %s, before it opens the archive', async ([, references, options, message]) => {
    const failure = await sync(references, { to: folder.join('archive'), env, ...options }).catch((e: unknown) => e);
    expect(failure).toBeInstanceOf(Failure);
    expect(failure).toMatchObject({ side: 'input', message: expect.stringContaining(message) });
    await expect(openArchive(folder.join('archive'))).rejects.toThrow('the folder does not exist');
  });
});

/** A value that a program in JavaScript may pass, since it has no types. */
const anything = (value: unknown): never => value as never;

describe('a value of the wrong kind is refused with its name', () => {
  test.for([
    [{ tags: '*' }, 'tags as a list of at least one text, got "*"'],
    [{ tags: [] }, 'tags as a list of at least one text, got an array'],
    [{ tags: null }, 'tags as a list of at least one text, got null'],
    [{ tags: [1] }, 'tags as a list of at least one text, got an array'],
    [{ platforms: 'linux/amd64' }, 'platforms as a list of at least one text, got "linux/amd64"'],
    [{ insecureRegistries: 'x' }, 'insecureRegistries as a list of texts, got "x"'],
    [{ foreignHosts: [null] }, 'foreignHosts as a list of texts, got an array'],
    [{ strictMediaTypes: 'false' }, 'strictMediaTypes true or false, got "false"'],
    [{ foreignLayers: null }, 'foreignLayers fetch or skip, got null'],
    [{ config: '' }, 'config as a text, got ""'],
    [{ authfile: 1 }, 'authfile as a text, got 1'],
    [{ trustedRoot: {} }, 'trustedRoot as a text, got an object'],
    [{ concurrency: '4' }, 'concurrency from 1 to 64, got "4"'],
    [{ maxWaitMs: '5' }, 'maxWaitMs from 0, got "5"'],
    [{ onEvent: 1 }, 'onEvent as a function, got 1'],
    [{ onNotice: 'x' }, 'onNotice as a function, got "x"'],
    [{ signal: {} }, 'signal as an AbortSignal, got an object'],
    [{ env: null }, 'env as an object, got null'],
    [{ to: 5 }, "to as a handle, a folder's path or s3://bucket/prefix, got 5"],
    [{ to: '' }, 'to as a handle'],
    [{ to: undefined }, 'to as a handle'],
  ] as const)('%j', async ([options, expected]) => {
    const failure = await sync(['alpine'], anything({ to: folder.join('archive'), env, ...options })).catch(
      (e: unknown) => e,
    );
    expect(failure).toMatchObject({ code: 'invalid', message: expect.stringContaining(`sync: expected ${expected}`) });
  });

  test.each([
    ['alpine', 'references as a list of texts, got "alpine"'],
    [undefined, 'references as a list of texts, got none'],
    [[1], 'references as a list of texts, got an array'],
  ])('references: %j', async (references, expected) => {
    const failure = await sync(anything(references), { to: folder.join('archive'), env }).catch((e: unknown) => e);
    expect(failure).toMatchObject({ code: 'invalid', message: `sync: expected ${expected}` });
  });

  test('options that are missing', async () => {
    await expect(sync(['alpine'], anything(undefined))).rejects.toThrow(
      'sync: expected options as an object, got none',
    );
  });

  test.each([
    ['platform', 'did you mean platforms?'],
    ['bogus', '(available: signal, env, to, config, tags,'],
    ['constructor', '(available: signal,'],
  ])('the option %s, which is unknown', async (name, hint) => {
    const failure = await sync(['alpine'], anything({ to: folder.join('archive'), env, [name]: 1 })).catch(
      (e: unknown) => e,
    );
    expect(failure).toMatchObject({
      code: 'invalid',
      message: expect.stringMatching(`^sync: unknown option "${name}"`),
    });
    expect(failure).toMatchObject({ message: expect.stringContaining(hint) });
  });

  test('those of openArchive, of a handle and of verify', async () => {
    const open = (...args: unknown[]): Promise<unknown> =>
      (openArchive as (...a: unknown[]) => Promise<unknown>)(...args);
    await expect(open()).rejects.toThrow("open archive: expected address as a folder's path, s3://bucket/prefix or");
    await expect(open({})).rejects.toThrow('open archive: expected address');
    await expect(open('x', { create: 'false' })).rejects.toThrow('expected create true or false, got "false"');
    await using archive = await openArchive(new MemoryStore());
    await expect(archive.tagIndex(anything(undefined))).rejects.toThrow('expected repository as a text, got none');
    await expect(archive.content(IMAGE.digest, anything(undefined))).rejects.toThrow('expected options as an object');
    await expect(verify(archive, anything({ repositories: 'x' }))).rejects.toThrow('expected repositories as a list');
    await expect(verify(archive, anything({ concurrency: '2' }))).rejects.toThrow(
      'expected concurrency from 1, got "2"',
    );
    await expect(verify(anything(null))).rejects.toThrow('verify: expected archive as a handle');
  });
});

describe('an aborted signal rejects with its reason', () => {
  const reason = new Error('enough');
  const signal = AbortSignal.abort(reason);

  test('while a folder is verified', async () => {
    const to = folder.join('archive');
    await sync([`${registry.host}/team/app:1.0`], { to, env });
    await expect(verify(to, { env, signal })).rejects.toBe(reason);
    const controller = new AbortController();
    const onProgress = (): void => controller.abort(reason);
    await expect(verify(to, { env, signal: controller.signal, onProgress })).rejects.toBe(reason);
  });

  test('before a configuration is read', async () => {
    const options = { config: folder.join('missing.yaml'), to: folder.join('archive'), env, signal };
    await expect(sync([], options)).rejects.toBe(reason);
  });
});

test('the content of a text that is not a digest is rejected', async () => {
  await using archive = await openArchive(new MemoryStore());
  const content = archive.content('x' as typeof IMAGE.digest, { maxBytes: 1 });
  await expect(content).rejects.toThrow('parse digest "x"');
  await expect(content).rejects.toBeInstanceOf(Failure);
});

describe('verify', () => {
  test('rejects a repository that the archive lacks', async () => {
    await using archive = await openArchive(new MemoryStore());
    await expect(verify(archive, { repositories: ['alpine'] })).rejects.toThrow('verify docker.io/library/alpine');
  });

  test('rejects a concurrency of zero', async () => {
    await using archive = await openArchive(new MemoryStore());
    await expect(verify(archive, { concurrency: 0 })).rejects.toThrow('verify: expected concurrency from 1, got 0');
  });

  test('rejects a handle that openArchive did not return', async () => {
    await using archive = await openArchive(new MemoryStore());
    await expect(verify({ ...archive })).rejects.toThrow('the handle is not one that openArchive returned');
  });
});
