import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Failure } from '../../../lib/core/failure.ts';
import { parseConfig } from '../../../lib/config/config.ts';
import { type Config, mirrorsOf, registrySettings } from '../../../lib/config/mirrors.ts';
import { closest, editDistance } from '../../../lib/core/suggest.ts';
import { formatPlatform } from '../../../lib/oci/platform.ts';
import { formatRepository } from '../../../lib/oci/reference.ts';
import { platforms, references } from '../oci/arbitraries.ts';

const parse = (text: string): Config => parseConfig(text, 'mirror.yaml');

function failureOf(text: string): Failure {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

/** The problems of a text, without the words before the first one. */
function problemsOf(text: string): string[] {
  return failureOf(text)
    .detail.replace(/^\d+ problems?:\s+/, '')
    .split('\n')
    .map((line) => line.trim().replace(/^mirror\.yaml:/, ''));
}

const FULL = `
version: 1
defaults:
  destination: mirror.example.com/{host}/{path}
  tags: { include: ['3.*'], exclude: ['*-rc*'], newest: 5 }
  platforms: [linux/amd64, linux/aarch64]
  foreignLayers: skip
  strictMediaTypes: true
  connections: 6
  foreignHosts: [MCR.microsoft.com, '*.example.com']
registries:
  docker.io:
    endpoints: [mirror.gcr.io, { host: http://cache.example.com:5000, resolve: false }, { host: docker.io }]
    connections: 4
    credentials: false
  registry.example.com:5000:
    insecure: true
    privateAddresses: true
    tokenService: sso.example.com:8443
    credentials: registry.example.com
mirrors:
  - source: alpine
  - source: ghcr.io/org/app
    destination: ghcr.io/org/app
    tags: [1.10, latest, latest]
    platforms: all
    foreignLayers: fetch
    strictMediaTypes: false
  - source: localhost:5000/tool
    destination: mirror.example.com/tools/{name}
    tags: all
`;

describe('the meaning of a file', () => {
  // 1.10 is a tag and not a number.
  test('includes every setting, with defaults for missing ones', () => {
    const config = parse(FULL);
    expect(config.mirrors).toEqual([
      {
        source: 'docker.io/library/alpine',
        repository: 'mirror.example.com/docker.io/library/alpine',
        tags: { kind: 'filtered', include: ['3.*'], exclude: ['*-rc*'], newest: 5 },
        platforms: [
          { os: 'linux', architecture: 'amd64' },
          { os: 'linux', architecture: 'arm64' },
        ],
        foreignLayers: 'skip',
        strictMediaTypes: true,
      },
      {
        source: 'ghcr.io/org/app',
        repository: 'ghcr.io/org/app',
        tags: { kind: 'listed', tags: ['1.10', 'latest'] },
        platforms: 'all',
      },
      {
        source: 'localhost:5000/tool',
        repository: 'mirror.example.com/tools/tool',
        tags: { kind: 'filtered', include: ['*'], exclude: [] },
        platforms: expect.arrayContaining([]),
        foreignLayers: 'skip',
        strictMediaTypes: true,
      },
    ]);
    expect(mirrorsOf(config, 'ghcr.io/org/app')).toEqual([config.mirrors[1]]);
    expect(mirrorsOf(config, 'ghcr.io/org/other')).toEqual([]);
  });

  test('is that of the documentation for the documented example', () => {
    const page = readFileSync(join(import.meta.dirname, '../../../docs/configuration.md'), 'utf8');
    const [, example = ''] = /```yaml\n(.*?)```/s.exec(page) ?? [];
    expect(parse(example).mirrors.map(({ source, repository }) => [source, repository])).toEqual([
      ['docker.io/library/alpine', 'mirror.example.com/docker.io/library/alpine'],
      ['docker.io/library/nginx', 'mirror.example.com/docker.io/library/nginx'],
      ['ghcr.io/stefanprodan/podinfo', 'mirror.example.com/demo/podinfo'],
    ]);
  });

  // A path cannot contain a port.
  test('includes valid destinations for each registry of the documented example, and for any other', () => {
    const page = readFileSync(join(import.meta.dirname, '../../../docs/configuration.md'), 'utf8');
    const [, example = ''] = /```yaml\n(.*?)```/s.exec(page) ?? [];
    const registries = [...parse(example).registries.keys()];
    expect(registries).toContain('registry.example.com:5000');
    const sources = [...registries, 'localhost:5000', '[::1]:5000', '[fe80::1]', '[fe80::]:80'];
    const more = sources.map((host) => `  - { source: '${host}/team/app', tags: all }\n`).join('');
    const { mirrors } = parse(`${example}${more}`);
    expect(mirrors.slice(-sources.length).map(({ repository }) => repository)).toEqual(
      [
        ...registries.map((host) => host.replace(':', '_')),
        'localhost_5000',
        'ipv6---1_5000',
        'ipv6-fe80--1',
        'ipv6-fe80--0_80',
      ].map((host) => `mirror.example.com/${host}/team/app`),
    );
  });

  test.each([
    ['{host}/{path}', 'localhost:5000/team/app'],
    ['{host}/copy/{name}', 'localhost:5000/copy/app'],
    ['mirror.example.com/{host}/{name}', 'mirror.example.com/localhost_5000/app'],
    ['mirror.example.com/all-{host}/{name}', 'mirror.example.com/all-localhost_5000/app'],
    ['localhost:6000/{host}/{host}/{path}', 'localhost:6000/localhost_5000/localhost_5000/team/app'],
  ])('of the template %s is %s for a registry with a port', (destination, repository) => {
    const { mirrors } = parse(
      `version: 1\ndefaults: { destination: '${destination}' }\nmirrors: [{ source: 'localhost:5000/team/app', tags: all }]`,
    );
    expect(mirrors).toMatchObject([{ repository }]);
  });

  test('includes the settings of registries: those of the host, then the defaults, then those of the caller', () => {
    const settings = registrySettings(parse(FULL), 8);
    expect(settings.endpoints).toEqual({
      'docker.io': ['mirror.gcr.io', { host: 'http://cache.example.com:5000', resolve: false }, { host: 'docker.io' }],
    });
    expect(settings.insecure).toEqual(['registry.example.com:5000']);
    expect(settings.privateAddresses).toEqual(['registry.example.com:5000']);
    expect(settings.tokenServices).toEqual({ 'registry.example.com:5000': 'sso.example.com:8443' });
    expect(settings.foreignHosts).toEqual(['mcr.microsoft.com', '*.example.com']);
    expect(['docker.io', 'ghcr.io'].map(settings.connections)).toEqual([4, 6]);
    expect(['docker.io', 'registry.example.com:5000', 'ghcr.io'].map(settings.credentials)).toEqual([
      false,
      'registry.example.com',
      'ghcr.io',
    ]);
    const small = parse('{version: 1, mirrors: [{source: a, tags: all}]}');
    expect(registrySettings(small, 8).connections('docker.io')).toBe(8);
    expect(registrySettings(small, 8)).toMatchObject({ tokenServices: {}, foreignHosts: undefined });
    expect(small.mirrors).toMatchObject([{ repository: 'docker.io/library/a', platforms: 'all' }]);
  });

  test('includes anchors and aliases, and an alias stands for the last anchor of its name', () => {
    const { mirrors } = parse(`
version: 1
mirrors:
  - { source: a, tags: &x [one] }
  - { source: b, tags: *x }
  - { source: c, tags: &x [two] }
  - { source: d, tags: *x }`);
    expect(mirrors.map(({ tags }) => tags)).toMatchObject([
      { tags: ['one'] },
      { tags: ['one'] },
      { tags: ['two'] },
      { tags: ['two'] },
    ]);
  });

  // Other parsers treat these words as other values.
  test('treats every scalar as its text', () => {
    const { mirrors } = parse(
      `{version: 1, mirrors: [{source: no, tags: [on, 1e3, 0x1F, 2024-01-01, null, '7', 1_000]}]}`,
    );
    expect(mirrors).toMatchObject([
      { source: 'docker.io/library/no', tags: { tags: ['on', '1e3', '0x1F', '2024-01-01', 'null', '7', '1_000'] } },
    ]);
  });

  test('is kept for every configuration that is written as YAML and read again', () => {
    const mirrors = fc.uniqueArray(
      fc.record({
        source: references.map(formatRepository),
        tags: fc.uniqueArray(fc.stringMatching(/^\w[\w.-]{0,20}$/), { minLength: 1, maxLength: 4 }),
        platforms: fc.array(platforms, { minLength: 1, maxLength: 3 }),
      }),
      { minLength: 1, maxLength: 5, selector: ({ source }) => source },
    );
    fc.assert(
      fc.property(mirrors, (wanted) => {
        const document = {
          version: 1,
          mirrors: wanted.map((one) => ({ ...one, platforms: one.platforms.map(formatPlatform) })),
        };
        const { mirrors: read } = parse(JSON.stringify(document).replace('"version":1', '"version": 1'));
        expect(read).toEqual(
          wanted.map(({ source, tags, platforms: chosen }) => ({
            source,
            repository: source,
            tags: { kind: 'listed', tags },
            platforms: chosen,
          })),
        );
      }),
    );
  });
});

describe('limits', () => {
  test.each([
    ['20GB', 20e9],
    ['512 MiB', 512 * 2 ** 20],
    ['1TB', 1e12],
    ['300', 300],
    ['300B', 300],
    ['7kB', 7_000],
    ['7KiB', 7 * 2 ** 10],
  ])('treat %s as %i bytes', (text, value) => {
    const { limits } = parse(
      `version: 1\nlimits: { imageBytes: ${text}, runImages: 5, runBytes: ${text} }\nmirrors: [{source: a, tags: all}]`,
    );
    expect(limits).toEqual({ imageBytes: value, runImages: 5, runBytes: value });
  });

  test.each(['0', '-1', '1.5GB', '20gb', '20 G', '7kiB', '99999999TB', 'many'])(
    'refuse %s as a number of bytes',
    (text) => {
      expect(problemsOf(`version: 1\nlimits: { imageBytes: ${text} }\nmirrors: [{source: a, tags: all}]`)).toEqual([
        `2:23: limits.imageBytes: must be a number of bytes, such as 20GB or 512MiB, not ${text}`,
      ]);
    },
  );
});

describe('scalars', () => {
  test('may be quoted numbers, and words that look like flags stay words', () => {
    const config = parse(
      'version: "1"\nregistries: { a.io: { connections: "3", credentials: "false" } }\nmirrors: [{source: a, tags: { newest: "2" }}]',
    );
    expect(config.registries.get('a.io')).toEqual({ connections: 3, credentials: 'false' });
    expect(config.mirrors).toMatchObject([{ tags: { newest: 2 } }]);
  });

  test.each([
    ['newest: 0', 'not 0'],
    ['newest: "0"', 'not "0"'],
    ['newest: many', 'not many'],
    ['newest: 1.5', 'not 1.5'],
  ])('are quoted in errors as they are written: %s: %s', (setting, shown) => {
    expect(problemsOf(`version: 1\nmirrors: [{source: a, tags: { ${setting} }}]`)).toEqual([
      expect.stringMatching(new RegExp(`must be a whole number from 1 to 10000, ${shown}$`)),
    ]);
  });
});

describe('an invalid template is reported with its place', () => {
  test.each([
    [
      '{hots}/{path}',
      /^2:26: defaults\.destination: .*unknown placeholder \{hots\} \(available: \{host\}, \{path\}, \{name\}\)$/,
    ],
    [
      'team/{name}',
      /^2:26: defaults\.destination: .*for docker\.io\/library\/a it becomes "team\/a"; write it in full/,
    ],
    [
      'x.io/Team/{name}',
      /^2:26: defaults\.destination: .*for docker\.io\/library\/a it becomes "x\.io\/Team\/a", which is not a repository/,
    ],
    ['x.io/app:1', /^2:26: defaults\.destination: .*it becomes "x\.io\/app:1", which is not a repository/],
  ])('for %s', (template, problem) => {
    const problems = problemsOf(
      `version: 1\ndefaults: { destination: '${template}' }\nmirrors: [{ source: a, tags: all }]`,
    );
    expect(problems[0]).toMatch(problem);
  });

  test('and only once if several mirrors use it', () => {
    const mirrors = Array.from({ length: 9 }, (_, i) => `{ source: a${i}, tags: all }`).join(', ');
    expect(problemsOf(`version: 1\ndefaults: { destination: 'x/{y}' }\nmirrors: [${mirrors}]`)).toHaveLength(1);
  });
});

describe('an invalid file is reported with its places', () => {
  test('with all problems at once, in the order of the file, each with its remedy', () => {
    const text = `version: 1
mirros: []
defaults: { tag: all, conections: 3 }
registries:
  docker: { connections: 3 }
  index.docker.io: {}
  ghcr.io: { connections: 300, insecure: yes, endpoints: ['ftp://x', 'https://a.b/c', solo] }
mirrors:
  - { source: alpine:3, tags: all }
  - { source: x, tags: ['3.*', 3.20, "a b"] }
  - { source: y, platforms: [amd64], tags: { inclde: [x], include: ['/^x/'], newest: 0 } }
  - { source: z, tags: }
  - tags: all`;
    expect(problemsOf(text).map((line) => line.replace(/^(\d+:\d+: \S+: .{0,60}).*$/, '$1'))).toMatchInlineSnapshot(`
      [
        "2:1: mirros: unknown setting "mirros"; did you mean mirrors?",
        "3:13: defaults.tag: unknown setting "tag"; did you mean tags?",
        "3:23: defaults.conections: unknown setting "conections"; did you mean connections?",
        "5:3: registries.docker: "docker": write docker.io, as references name it",
        "6:3: registries["index.docker.io"]: "index.docker.io": write docker.io, as references name it",
        "7:27: registries["ghcr.io"].connections: must be a whole number from 1 to 64, not 300",
        "7:42: registries["ghcr.io"].insecure: must be true or false, not yes",
        "7:59: registries["ghcr.io"].endpoints[0]: "ftp://x": its scheme is neither http:// nor https://",
        "7:70: registries["ghcr.io"].endpoints[1]: "https://a.b/c": expected a host, or http(s)://host, without",
        "7:87: registries["ghcr.io"].endpoints[2]: "solo": not a registry host (expected a dot, a port, or loca",
        "9:15: mirrors[0].source: "alpine:3": it has the tag "3" after its name; leave it out,",
        "10:25: mirrors[1].tags[0]: "3.*": a pattern in a list of tags, which contains only exac",
        "10:38: mirrors[1].tags[2]: "a b": not a tag (expected 1 to 128 letters, digits, "_", ".",
        "11:30: mirrors[2].platforms[0]: "amd64": it is written OS/ARCH[/VARIANT], such as linux/amd6",
        "11:46: mirrors[2].tags.inclde: unknown setting "inclde"; did you mean include?",
        "11:69: mirrors[2].tags.include[0]: "/^x/": tags cannot contain "/"; a pattern may contain the c",
        "11:86: mirrors[2].tags.newest: must be a whole number from 1 to 10000, not 0",
        "12:24: mirrors[3].tags: must be all, or a list of tags, or a mapping, not nothing",
        "13:5: mirrors[4].source: is missing; it must be a repository, such as docker.io/libra",
      ]
    `);
  });

  test('at the list of endpoints if none of them resolves tags', () => {
    const withEndpoints = (endpoints: string): string => `version: 1
registries:
  docker.io: { connections: 3, endpoints: ${endpoints} }
mirrors: [{ source: alpine, tags: all }]`;
    for (const endpoints of [
      '[{ host: a.example, resolve: false }]',
      '[{ host: a.example, resolve: false }, { host: docker.io, resolve: false }]',
    ])
      expect(problemsOf(withEndpoints(endpoints))).toEqual([
        '3:43: registries["docker.io"].endpoints: has no endpoint that resolves tags; add the registry itself, or remove resolve: false',
      ]);
    for (const endpoints of [
      '[a.example]',
      '[{ host: a.example }]',
      '[{ host: a.example, resolve: true }]',
      '[docker.io, { host: a.example, resolve: false }]',
    ])
      expect(() => parse(withEndpoints(endpoints))).not.toThrow();
  });

  test('an invalid host hides neither the problems of its settings nor those of other parts', () => {
    const text = `version: 1
registries:
  docker: { connections: 0 }
  __proto__: { insecure: true }
mirrors: [{ source: '', tags: all }]`;
    expect(problemsOf(text)).toEqual(['4:3: unknown setting "__proto__"']);
    expect(problemsOf(text.replace(/.*__proto__.*\n/, ''))).toEqual([
      '3:3: registries.docker: "docker": write docker.io, as references name it',
      '3:26: registries.docker.connections: must be a whole number from 1 to 64, not 0',
      '4:21: mirrors[0].source: must be a repository, such as docker.io/library/alpine, not nothing',
    ]);
  });

  test('for an endpoint with settings as for one without', () => {
    const text = `version: 1
registries:
  docker.io:
    endpoints:
      - { host: ftp://x, resolve: no }
      - { resolve: false }
      - { host: a.example, resolves: false }
      - [a.example]
mirrors: [{ source: alpine, tags: all }]`;
    expect(problemsOf(text)).toEqual([
      '5:17: registries["docker.io"].endpoints[0].host: "ftp://x": its scheme is neither http:// nor https://',
      '5:35: registries["docker.io"].endpoints[0].resolve: must be true or false, not no',
      '6:9: registries["docker.io"].endpoints[1].host: is missing; it must be an endpoint: a host, or http(s)://host',
      '7:28: registries["docker.io"].endpoints[2].resolves: unknown setting "resolves"; did you mean resolve?',
      '8:9: registries["docker.io"].endpoints[3]: must be an endpoint: a host, or http(s)://host, or a mapping, not a list',
    ]);
  });

  test('with problems between mirrors, even if another entry is invalid', () => {
    const text = `version: 1
mirrors:
  - { source: a, tags: all, destination: team/app }
  - { source: b, tags: all, destination: 'x.io/{pth}' }
  - { source: localhost:5000/c, tags: all, destination: 'x.io/{host}/{path}' }
  - { source: d }
  - { source: e, tags: no }
  - { source: busybox, tags: all }
  - { source: docker.io/library/busybox, tags: all }
  - { source: ghcr.io/f, tags: all, destination: docker.io/library/busybox }`;
    expect(problemsOf(text)).toEqual([
      expect.stringMatching(
        /^3:42: mirrors\[0\]\.destination: .*write it in full and host first, as in docker\.io\/team\/app/,
      ),
      expect.stringMatching(/^4:42: mirrors\[1\]\.destination: .*unknown placeholder \{pth\} \(available: \{host\}/),
      expect.stringMatching(/^6:5: mirrors\[3\]: tags is missing, here and in defaults/),
      expect.stringMatching(/^7:24: mirrors\[4\]\.tags: must be all, or a list of tags, or a mapping, not no/),
      expect.stringMatching(
        /^9:15: mirrors\[6\]\.source: docker\.io\/library\/busybox is mirrored by mirrors\[5\]\.source/,
      ),
      expect.stringMatching(
        /^10:15: mirrors\[7\]\.source: ghcr\.io\/f and docker\.io\/library\/busybox .* would both be/,
      ),
    ]);
  });

  test.each([
    ['*', /^4:9: a value that begins with \* is an alias in YAML; put a pattern in quotes, such as "\*"$/],
    ['[3.*, *]', /^4:15: a value that begins with \* is an alias in YAML; put a pattern in quotes/],
    ['{include: [*-alpine]}', /^4:20: .*; if it is a pattern, write "\*-alpine" with quotes$/],
    ['{include: [[0-9]*]}', /^4:25: .*; put a value with special characters in quotes, such as "\[0-9\]\*"$/],
    ['{include: [v[0-9]]}', /^4:21: .*; put a value with special characters in quotes/],
    ['@3', /^4:9: .*; put a value with special characters in quotes/],
    ['a: b', /^4:9: .*; put a value with special characters in quotes/],
  ])('with the remedy for a pattern without quotes: tags: %s', (tags, problem) => {
    expect(problemsOf(`version: 1\nmirrors:\n- source: a\n  tags: ${tags}\n`)[0]).toMatch(problem);
  });

  test.each([
    ['version:1\nmirrors: []', '1:1'],
    ['version: 1\nmirrors:\n- source:a\n  tags: all', '3:3'],
    ['version: 1\nmirrors:[]', '2:1'],
  ])('with the remedy for a colon without a space: %j', (text, place) => {
    expect(problemsOf(text)).toEqual([`${place}: expected a key, a colon and a space, such as version: 1`]);
  });

  test.each([
    ['an empty file', '', /^1:1: must be a mapping, not nothing$/],
    ['another kind of file', '[1]', /^1:1: must be a mapping, not a list$/],
    ['no mirrors', 'version: 1', /^1:1: mirrors: is missing; it must be a list of mirrors$/],
    ['mirrors without a value', 'version: 1\nmirrors:', /^2:9: mirrors: must be a list of mirrors, not nothing$/],
    [
      'a token service with a scheme',
      'version: 1\nregistries: { a.test: { tokenService: "https://auth" } }\nmirrors: [{ source: a, tags: all }]',
      /tokenService: "https:\/\/auth": write the host without a scheme, such as registry\.example\.com:5000$/,
    ],
    ['an empty list', 'version: 1\nmirrors: []', /^2:10: mirrors: must not be empty$/],
    [
      'another version, and nothing else of it',
      'version: 2\nmirors: 3',
      /^1:10: version: is 2, and this release knows only 1$/,
    ],
    ['YAML that is none', 'version: 1\nmirrors: [', /^2:11: Flow sequence/],
    ['a key twice', 'version: 1\nversion: 1', /^2:1: "version" is also set in line 1; remove one of them$/],
    [
      'two documents',
      'version: 1\n---\nversion: 1',
      /^2:1: expected one document, got several; remove this line \(---\) and the lines after it$/,
    ],
    ['too many levels', '['.repeat(50_000), /: the values are nested too deeply for a configuration$/],
    [
      'a value with a tag',
      'version: 1\nmirrors: [{ source: !!binary aGk=, tags: all }]',
      /^2:30: mirrors\[0\]\.source: must be .*, not a value with the tag !!binary$/,
    ],
    [
      'a host in upper case',
      'version: 1\nregistries: { Docker.IO: {} }\nmirrors: [{ source: a, tags: all }]',
      /^2:15: registries\["Docker\.IO"\]: "Docker\.IO": write docker\.io, as references name it$/,
    ],
    ['a tag of YAML', 'version: !!int 1', /^1:10: Unresolved tag/],
    ['an alias without an anchor', 'version: 1\nmirrors: *x', /^2:10: alias \*x has no anchor before it;/],
    ['a list within itself', 'version: 1\nmirrors: &x [*x]', /^2:14: aliases expand to more than 1000000 values/],
    [
      'keys that are special elsewhere',
      'version: 1\n__proto__: {}\nmirrors: [{source: a, tags: all}]',
      /^2:1: unknown setting "__proto__"$/,
    ],
    ['a control character', 'version: "\\e[31m"\nmirrors: []', /^1:10: version: must be 1, not "\\u001b\[31m"$/],
  ])('for %s', (_, text, problem) => {
    expect(problemsOf(text)[0]).toMatch(problem);
  });

  test('once for a text of any length where a list is expected', () => {
    expect(problemsOf('version: 1\nmirrors:')).toHaveLength(1);
    expect(problemsOf(`version: 1\nmirrors: ${'x'.repeat(10_001)}`)).toHaveLength(1);
  });

  test.for(['utf16le', 'latin1'] as const)(
    'for a file with zero bytes, such as one in UTF-16 (read as %s)',
    (encoding) => {
      const text = Buffer.from('\uFEFFversion: 1\0', encoding).toString('utf8');
      expect(failureOf(text)).toMatchObject({
        code: 'invalid',
        message: 'read configuration: mirror.yaml has zero bytes, as a file in UTF-16 has; save it as UTF-8',
      });
    },
  );

  test('with the code invalid if it nests too deep, and too-large if it is too large', () => {
    expect(failureOf('['.repeat(50_000)).code).toBe('invalid');
    expect(failureOf(`#${' '.repeat(2 * 1024 * 1024)}`).code).toBe('too-large');
  });

  // Each file has at most half a mebibyte, and would take many seconds or gigabytes to read.
  test.each([
    [
      'a large mirror that an alias repeats ten thousand times',
      `version: 1\nmirrors:\n- &m {source: a, tags: [${Array.from({ length: 10_000 }, (_, i) => `t${i}`).join(',')}]}\n${'- *m\n'.repeat(9_999)}`,
      /aliases expand to more than 1000000 values/,
    ],
    [
      'aliases of aliases',
      `version: 1\na: &a [x,x,x,x,x,x,x,x,x,x]\n${Array.from('bcdefgh')
        .map((name, i) => `${name}: &${name} [${`*${'abcdefgh'[i] ?? ''},`.repeat(10)}]\n`)
        .join('')}mirrors: *h\n`,
      /aliases expand to more than 1000000 values/,
    ],
    [
      'a mapping of many keys',
      `version: 1\nregistries:\n${Array.from({ length: 20_000 }, (_, i) => `  h${i}.io: {}\n`).join('')}`,
      /expected at most 1000 entries, got 20000/,
    ],
    ['hundreds of thousands of comments', '#\n'.repeat(200_000), /more than 100000 lines/],
    ['hundreds of thousands of values', `mirrors: [${'{},'.repeat(170_000)}]`, /more than 320000 words and indicators/],
    [
      'nesting that overflows the stack',
      `mirrors: [${'a: : '.repeat(10_000)}]`,
      /nested too deeply for a configuration/,
    ],
  ])('for %s', (_, text, why) => {
    expect(failureOf(text).detail).toMatch(why);
  });

  test('but not for an alias in each of ten thousand mirrors', () => {
    const mirrors = Array.from({ length: 9_999 }, (_, i) => `- {source: a${i}, tags: *t}\n`).join('');
    const config = parse(`version: 1\ndefaults: {tags: &t {include: ['1.*', '2.*'], newest: 3}}\nmirrors:\n${mirrors}`);
    expect(config.mirrors).toHaveLength(9_999);
  });

  test('for a repeated key at any depth', () => {
    expect(problemsOf('version: 1\nmirrors:\n- source: a\n  tags: all\n  source: b\n')).toEqual([
      '5:3: "source" is also set in line 3; remove one of them',
    ]);
  });

  test('with the number of all problems of a file that has thousands', () => {
    const lines = problemsOf(`version: 1\n${Array.from({ length: 5_000 }, (_, index) => `k${index}: 1`).join('\n')}`);
    expect(lines).toHaveLength(51);
    expect(lines.at(-1)).toBe('and 4951 more');
  });

  test('with at most fifty problems', () => {
    const lines = problemsOf(`version: 1\n${Array.from({ length: 80 }, (_, index) => `k${index}: 1`).join('\n')}`);
    expect(lines).toHaveLength(51);
    expect(lines.at(-1)).toBe('and 31 more');
  });

  test('and arbitrary text leads to a configuration or a Failure', () => {
    const words = fc.constantFrom(
      'version: 1',
      'mirrors:',
      '  - source: a',
      '    tags: all',
      '{',
      ']',
      '&a',
      '*a',
      '- ',
      '\n',
      ': ',
      '"',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(words).map((parts) => parts.join('\n')),
        ),
        (text) => {
          try {
            parse(text);
          } catch (error) {
            expect(error).toBeInstanceOf(Failure);
            expect(error).toMatchObject({ side: 'input', remedy: 'never' });
          }
        },
      ),
    );
  });
});

describe('suggestions', () => {
  test.each([
    ['mirros', 'mirrors'],
    ['conections', 'connections'],
    ['incldue', 'include'],
    ['platform', 'platforms'],
    ['Tags', 'tags'],
    ['schedule', undefined],
    ['x', undefined],
  ])('suggest the most similar word for %s: %s', (typed, meant) => {
    expect(closest(typed, ['mirrors', 'connections', 'include', 'platforms', 'tags', 'defaults'])).toBe(meant);
  });

  test('use a distance that is zero to itself, symmetric, and one for one change', () => {
    const words = fc.stringMatching(/^[abc]{0,6}$/);
    fc.assert(
      fc.property(words, words, fc.nat(6), (a, b, at) => {
        expect(editDistance(a, a)).toBe(0);
        expect(editDistance(a, b)).toBe(editDistance(b, a));
        expect(editDistance(a, `${a.slice(0, at)}x${a.slice(at)}`)).toBe(1);
      }),
    );
    expect(editDistance('ab', 'ba')).toBe(1);
  });
});

test.each([
  ['a directive', `%${'x'.repeat(50_000)}`],
  ['a setting', `${'x'.repeat(50_000)}: 1`],
])('a message about %s of 50,000 characters has bounded length', (_, text) => {
  expect(() => parseConfig(text, 'mirror.yaml')).toThrow(/^.{0,1000}$/s);
});
