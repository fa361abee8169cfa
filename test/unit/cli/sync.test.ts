/** The images that `sync` mirrors from a registry of the kit, for given arguments and a given mirror.yaml. */
import { writeFile } from 'node:fs/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import { type Ended, jsonLines, summaryOf } from '../../kit/command-line.ts';
import { type Image, makeImage, makeLayer } from '../../kit/images.ts';
import { serveHttp } from '../../kit/http-server.ts';
import { runMain } from '../../kit/in-process.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { openScene } from '../../kit/scene.ts';
import type { TempFolder } from '../../kit/temp.ts';

let registry: TestRegistry;
let folder: TempFolder;
let archive: string;

beforeEach(async () => {
  ({ registry, folder, archive } = await openScene());
});

const image = (seed: number): Image => makeImage({ layers: [makeLayer({ seed })] });
const named = (rest: string): string => `${registry.host}/${rest}`;

async function mirrored(...args: string[]): Promise<string[]> {
  const ended = await runMain(['sync', ...args, '--to', archive, '--json']);
  expect(ended, ended.stderr).toMatchObject({ code: 0, stderr: '' });
  return summaryOf(ended).images.map(({ reference, repository }) => `${reference} ${repository}`);
}

async function configured(text: string): Promise<string> {
  const path = folder.join('mirror.yaml');
  await writeFile(path, text);
  return path;
}

describe('sync --config', () => {
  const config = (): string => `
version: 1
mirrors:
  - { source: '${named('team/a')}', tags: [1.0, 1.1], destination: mirror.example/a }
  - { source: '${named('team/b')}', tags: { include: ['1.*'] }, destination: mirror.example/b }
  - { source: '${named('team/a')}', tags: [1.1], destination: mirror.example/copy }
`;

  beforeEach(() => {
    for (const [i, name] of ['a', 'b'].entries())
      for (const tag of ['1.0', '1.1', '2.0']) registry.push(`team/${name}`, image(i), tag);
  });

  test('mirrors everything without references', async () => {
    expect(await mirrored('--config', await configured(config()))).toHaveLength(5);
  });

  test('mirrors the configured tags of a name into each destination', async () => {
    expect(await mirrored('--config', await configured(config()), named('team/a'))).toEqual([
      `${named('team/a:1.0')} mirror.example/a`,
      `${named('team/a:1.1')} mirror.example/a`,
      `${named('team/a:1.1')} mirror.example/copy`,
    ]);
    expect(registry.requests.every(({ path }) => path.startsWith('/v2/team/a/'))).toBe(true);
  });

  test('mirrors only the image of a reference with a tag, and the configured tags of a name next to it', async () => {
    const path = await configured(config());
    expect(await mirrored('--config', path, named('team/b:2.0'))).toEqual([`${named('team/b:2.0')} mirror.example/b`]);
    expect((await mirrored('--config', path, named('team/b'), named('team/a:2.0'))).sort()).toEqual([
      `${named('team/a:2.0')} mirror.example/a`,
      `${named('team/a:2.0')} mirror.example/copy`,
      `${named('team/b:1.0')} mirror.example/b`,
      `${named('team/b:1.1')} mirror.example/b`,
    ]);
  });

  test('refuses a name that is not in the file, with a suggestion', async () => {
    const ended = await runMain(['sync', '--config', await configured(config()), named('team/c'), '--to', archive]);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toContain(
      `select ${named('team/c')}: it is not in the configuration; did you mean ${named('team/a')}?`,
    );
    expect(registry.requests).toEqual([]);
  });

  test('reads standard input with -', async () => {
    const ended = await runMain(['sync', '--config', '-', '--to', archive, '--json'], { stdin: config() });
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect(summaryOf(ended).mirrored).toBe(5);
    const broken = await runMain(['sync', '--config', '-', '--to', archive], { stdin: 'version: 1\nmirors: 1\n' });
    expect(broken).toMatchObject({ code: 2, stdout: '' });
    expect(broken.stderr).toContain('standard input:2:1: mirors');
    const empty = await runMain(['check', '-'], { stdin: '' });
    expect(empty).toMatchObject({ code: 2, stderr: expect.stringContaining('standard input: it is empty') });
  });
});

describe('sync --config', () => {
  test('sends no credentials with credentials: false, even if there are some', async () => {
    await using closed = await startRegistry({ auth: { kind: 'basic', user: 'user', password: 'password' } });
    closed.push('team/app', image(1), '1.0');
    const auth = Buffer.from('user:password').toString('base64');
    const authfile = folder.join('auth.json');
    const syncWith = async (credentials: string, auths: object): Promise<Ended> => {
      await writeFile(authfile, JSON.stringify({ auths }));
      const path = await configured(
        `version: 1\nregistries: { '${closed.host}': { credentials: ${credentials} } }\nmirrors: [{ source: '${closed.host}/team/app', tags: [1.0] }]`,
      );
      return runMain(['sync', '--config', path, '--to', archive, '--authfile', authfile, '--json']);
    };
    const without = await syncWith('false', { [closed.host]: { auth } });
    expect(summaryOf(without)).toMatchObject({ failed: 1, images: [{ code: 'denied' }] });
    const sent = closed.requests.map(({ authorization }) => authorization);
    expect(new Set(sent)).toEqual(new Set([undefined]));
    expect(summaryOf(await syncWith('other', { other: { auth } }))).toMatchObject({ mirrored: 1, failed: 0 });
  });

  test('sends the credentials to the token service of tokenService, and to no other', async () => {
    const authorizations: (string | undefined)[] = [];
    await using service = await serveHttp(({ headers }) => {
      authorizations.push(headers.authorization);
      return headers.authorization === undefined ? [401] : [200, {}, '{"token":"given"}'];
    });
    // Another host name than the registry's.
    const host = `0.0.0.0:${service.port}`;
    registry.push('team/app', image(1), '1.0');
    registry.misbehave({
      when: () => authorizations.at(-1) === undefined,
      do: { status: 401, headers: { 'www-authenticate': `Bearer realm="http://${host}/token",service="s"` } },
    });
    const auth = Buffer.from('user:password').toString('base64');
    const authfile = folder.join('auth.json');
    await writeFile(authfile, JSON.stringify({ auths: { [registry.host]: { auth } } }));
    const syncWith = async (settings: string): Promise<Ended> => {
      const path = await configured(
        `version: 1\nregistries: { '${registry.host}': {${settings}}, '${host}': { insecure: true } }\nmirrors: [{ source: '${named('team/app')}', tags: [1.0] }]`,
      );
      return runMain(['sync', '--config', path, '--to', archive, '--authfile', authfile, '--json']);
    };
    expect(summaryOf(await syncWith(''))).toMatchObject({ failed: 1 });
    expect(new Set(authorizations)).toEqual(new Set([undefined]));
    expect(summaryOf(await syncWith(` tokenService: '${host}' `))).toMatchObject({ mirrored: 1, failed: 0 });
    expect(authorizations.at(-1)).toBe(`Basic ${auth}`);
  });

  test('fetches foreign layers from the hosts of foreignHosts, and from no other', async () => {
    const layer = makeLayer({ seed: 1 });
    await using cdn = await serveHttp(() => [200, {}, layer.blob]);
    const url = `http://0.0.0.0:${cdn.port}/layer`;
    const mediaType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
    const foreign = makeImage({
      layers: [layer],
      format: 'docker',
      overrides: { descriptors: ([first]) => [{ ...first!, mediaType, urls: [url] }] },
    });
    registry.push('team/app', foreign, '1.0');
    registry.removeBlob(layer.digest);
    const syncWith = async (hosts: string): Promise<Ended> => {
      const path = await configured(
        `version: 1\ndefaults: { foreignHosts: ${hosts} }\nmirrors: [{ source: '${named('team/app')}', tags: [1.0] }]`,
      );
      return runMain(['sync', '--config', path, '--to', archive, '--json']);
    };
    expect(summaryOf(await syncWith('[mcr.microsoft.com]'))).toMatchObject({ failed: 1 });
    expect(cdn.requests).toEqual([]);
    expect(summaryOf(await syncWith('[0.0.0.0]'))).toMatchObject({ mirrored: 1, failed: 0 });
    expect(cdn.requests.length).toBeGreaterThan(0);
  });

  test('asks the configured endpoints instead of the registry itself', async () => {
    await using cache = await startRegistry();
    cache.push('team/app', image(1), '1.0');
    const path = await configured(
      `version: 1\nregistries: { '${registry.host}': { endpoints: ['${cache.host}'] } }\nmirrors: [{ source: '${named('team/app')}', tags: [1.0] }]`,
    );
    expect(await mirrored('--config', path)).toEqual([`${named('team/app:1.0')} ${named('team/app')}`]);
    expect(registry.requests).toEqual([]);
    expect(cache.count({ kind: 'blob' })).toBeGreaterThan(0);
  });

  test('mirrors the digest that the registry names, with blobs from an endpoint that does not resolve', async () => {
    await using cache = await startRegistry();
    const [right, wrong] = [image(1), image(2)];
    cache.push('team/app', wrong, '1.0');
    cache.push('team/app', right);
    registry.push('team/app', right, '1.0');
    const path = await configured(
      `version: 1\nregistries: { '${registry.host}': { endpoints: [{ host: '${cache.host}', resolve: false }, '${registry.host}'] } }\nmirrors: [{ source: '${named('team/app')}', tags: { include: ['*'] } }]`,
    );
    const ended = await runMain(['sync', '--config', path, '--to', archive, '--json']);
    expect(summaryOf(ended).images).toMatchObject([{ reference: named('team/app:1.0'), digest: right.digest }]);
    expect(cache.requests.filter(({ method }) => method === 'HEAD')).toEqual([]);
    expect(cache.count({ kind: 'tags' })).toBe(0);
    expect([cache.count({ kind: 'blob' }) > 0, registry.count({ kind: 'blob' })]).toEqual([true, 0]);
  });
});

// A registry has more than the operator allows. Images beyond a limit are recorded with the reason, and the others
// are mirrored.
describe('limits', () => {
  const limited = async (limits: string, tags: string): Promise<Ended> => {
    const path = await configured(
      `version: 1\nlimits: ${limits}\nmirrors: [{ source: '${named('team/app')}', tags: ${tags} }]`,
    );
    return runMain(['sync', '--config', path, '--to', archive, '--json']);
  };
  const failures = (ended: Ended): unknown[] =>
    summaryOf(ended).images.flatMap(({ status, reference, code, reason }) =>
      status === 'failed' ? [{ reference, code, reason }] : [],
    );

  test('imageBytes refuses a larger image', async () => {
    const [small, large] = [image(1), makeImage({ layers: [makeLayer({ seed: 2, size: 50_000 })] })];
    registry.push('team/app', small, 'small');
    registry.push('team/app', large, 'large');
    const ended = await limited('{ imageBytes: 20kB }', 'all');
    expect(ended.code).toBe(1);
    expect(summaryOf(ended).mirrored).toBe(1);
    expect(failures(ended)).toEqual([
      {
        reference: named('team/app:large'),
        code: 'limit-exceeded',
        reason: expect.stringMatching(
          /^mirror \S+\/team\/app:large: it has \d+ bytes; limits\.imageBytes allows 20000$/,
        ),
      },
    ]);
    expect(registry.count({ kind: 'blob', digest: large.layers[0]?.digest ?? '' })).toBe(0);
  });

  test.each([
    [
      'all',
      '',
      'limit-exceeded',
      /^list tags of \S+: more than 3 of its tags are wanted; limits\.runImages allows no more$/,
    ],
    ["['1', '2', '3', '4']", ':4', 'limit-exceeded', /^mirror \S+:\d: the run has 3 images already/],
  ])('runImages refuses the tags beyond it: %s', async (tags, _, code, reason) => {
    for (const tag of ['1', '2', '3', '4', '5'].slice(0, tags === 'all' ? 5 : 4))
      registry.push('team/app', image(1), tag);
    const ended = await limited('{ runImages: 3 }', tags);
    expect(ended.code).toBe(1);
    expect(summaryOf(ended)).toMatchObject({ mirrored: 3, failed: 1 });
    expect(failures(ended)).toMatchObject([{ code, reason: expect.stringMatching(reason) }]);
  });

  test('runBytes refuses the image that would exceed it, and existing blobs are free', async () => {
    const layers = [1, 2, 3].map((seed) => makeLayer({ seed, size: 5_000 }));
    for (const [i, layer] of layers.entries()) registry.push('team/app', makeImage({ layers: [layer] }), `${i}`);
    const total = layers.reduce((sum, { size }) => sum + size, 0);
    const ended = await limited(`{ runBytes: ${total - 1} }`, 'all');
    expect(summaryOf(ended)).toMatchObject({ mirrored: 2, failed: 1 });
    expect(failures(ended)).toMatchObject([
      {
        code: 'limit-exceeded',
        reason: expect.stringMatching(/it lacks \d+ bytes, and the run has asked for \d+; limits\.runBytes/),
      },
    ]);
    expect(summaryOf(await limited(`{ runBytes: ${total - 1} }`, 'all'))).toMatchObject({
      mirrored: 1,
      unchanged: 2,
      failed: 0,
    });
  });
});

describe('sync --tags', () => {
  test('mirrors the tags that match one of the patterns', async () => {
    for (const tag of ['1.0', '1.1', '2.0', 'edge', 'latest']) registry.push('team/app', image(1), tag);
    expect(await mirrored(named('team/app'), '--tags', '1.*', '--tags', 'e?ge')).toEqual(
      ['1.0', '1.1', 'edge'].map((tag) => `${named(`team/app:${tag}`)} ${named('team/app')}`),
    );
  });

  test('warns if no tag matches', async () => {
    registry.push('team/app', image(1), '1.0');
    const ended = await runMain(['sync', named('team/app'), '--tags', '3.*', '--to', archive, '--json']);
    expect(ended.code).toBe(0);
    expect(summaryOf(ended).warnings).toMatchObject([{ reason: '0 of 1 tag matches (upstream has 1.0)' }]);
  });
});

test('a file among the references is taken for a forgotten --config, and no registry is asked', async () => {
  const path = await configured('version: 1\nmirrors: [{ source: a, tags: all }]\n');
  const before = process.cwd();
  process.chdir(folder.path);
  try {
    const ended = await runMain(['sync', '--to', archive, 'mirror.yaml']);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toBe(
      'mirror-sync sync: mirror.yaml is a file, not an image; did you mean --config mirror.yaml?\n',
    );
  } finally {
    process.chdir(before);
  }
  expect((await runMain(['sync', '--to', archive, path])).stderr).toContain(`did you mean --config ${path}?`);
});

describe('check', () => {
  test('prints the numbers of a valid file, without a request', async () => {
    const path = await configured(
      `version: 1\nmirrors: [{ source: '${named('a')}', tags: all }, { source: b, tags: all }]`,
    );
    for (const args of [[path], ['--config', path]])
      expect(await runMain(['check', ...args])).toEqual({
        code: 0,
        stdout: `${path}: valid (2 mirrors of 2 registries)\n`,
        stderr: '',
      });
    expect(jsonLines(await runMain(['check', path, '--json']))).toEqual([
      { type: 'check', ok: true, mirrors: 2, registries: 2 },
    ]);
    expect(registry.requests).toEqual([]);
  });

  test('reports every problem of an invalid file, and ends with 2', async () => {
    const path = await configured('version: 1\ndefaults: { tgas: all }\nmirrors: [{ source: a:1, tags: all }]');
    const ended = await runMain(['check', path]);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toMatch(
      /^mirror-sync check: read configuration: 2 problems:\n {2}\S+:2:13: defaults\.tgas.*tags\?\n {2}\S+:3:/,
    );
    const json = await runMain(['check', path, '--json']);
    expect(json).toMatchObject({ code: 2, stderr: '' });
    expect(jsonLines(json)).toEqual([{ type: 'check', ok: false, reason: expect.stringContaining('2 problems') }]);
  });
});

test('the progress on a terminal counts each image that the command line names', async () => {
  const controller = new AbortController();
  const abort = (): boolean => {
    controller.abort();
    return false;
  };
  // The notice of the interruption redraws the progress.
  registry.misbehave({ match: { kind: 'manifest' }, when: abort, do: {} });
  const references = ['team/app:1.0', 'team/app:1.1', 'team/b:1.0'].map(named);
  const options = { isTTY: true, columns: 80, signal: controller.signal };
  const ended = await runMain(['sync', ...references, '--to', archive], options);
  expect(ended.stdout).toContain('stopping; ');
  expect(ended.stdout).toContain(' 0 of 3 images\n');
  expect(ended.stdout).toContain('0 mirrored, 0 unchanged, 3 interrupted, 0 failed; ');
});
