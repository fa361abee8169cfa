import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { COMMANDS as TABLE } from '../../../lib/cli/table.ts';
import { runMain } from '../../kit/in-process.ts';
import { tempFolder, type TempFolder } from '../../kit/temp.ts';

const COMMANDS = TABLE.map(({ name }) => name);

// The arguments are wrong, so no registry is asked and nothing is written.
test.each([
  [['sync'], /name at least one image/],
  [['sync', 'alpine'], /name the archive with --to/],
  [['sync', 'Alpine', '--to', 'there'], /upper-case/],
  [['sync', 'alpine:', '--to', 'there'], /parse reference/],
  [['sync', 'alpine', '--to', 'there', '--platform', 'linux'], /OS\/ARCH/],
  [['sync', 'alpine:3', '--to', 'there', '--all-tags'], /names one image/],
  [['sync', 'alpine:3', '--to', 'there', '--tags', '3.*'], /names one image; with --all-tags or --tags/],
  [['sync', 'alpine', '--to', 'there', '--tags', '3.*', '--all-tags'], /--all-tags and --tags exclude each other/],
  [['sync', 'alpine', '--to', 'there', '--tags', '/^3/'], /tags cannot contain "\/"/],
  [['sync', 'alpine', '--to', 'there', '--concurrency', '0'], /from 1 to \d+, not "0"/],
  [['sync', 'alpine', '--to', 'there', '--concurrency', 'many'], /not "many"/],
  [['sync', 'alpine', '--to', 'there', '--concurrency', '1e1'], /whole number from 1 to \d+, not "1e1"/],
  [['sync', 'alpine', '--to', 'there', '--concurrency', ' 5 '], /not " 5 "/],
  [['sync', 'alpine', '--to', 'there', '--notify', 'https://x.example'], /set the key in MIRROR_SYNC_NOTIFY_KEY/],
  [['sync', 'alpine', '--to', 'there', '--max-wait', 'soon'], /such as 90s, 15m or 6h, not "soon"/],
  [['sync', 'alpine', '--to', 'there', '--foreign-host', 'https://x'], /write a host such as/],
  [['sync', 'alpine', '--to', 'there', '--progress', 'tty'], /--progress must be bar, plain or none, not "tty"/],
  [
    ['sync', 'alpine', '--to', 'there', '--insecure-registry', 'http://foo bar'],
    /must be a registry host, .*, not "http:\/\/foo bar"/,
  ],
  [['sync', 'alpine', '--to', 'there', '--insecure-registry', 'quay.io/team'], /not "quay.io\/team"/],
  [['sync', 'alpine', '--to', 'there', '--foreign-layers', 'no'], /--foreign-layers must be fetch or skip, not "no"/],
  [['sync', '--config', 'm.yaml', '--to', 'there', '--foreign-layers', 'skip'], /is for references without --config/],
  [['sync', '--config', 'm.yaml', '--to', 'there', '--strict-media-types'], /is for references without --config/],
  [['sync', '--config', 'm.yaml', '--to', 'there', '--tags', '1.*'], /--tags is for references without --config/],
  [
    ['sync', './mirror.yaml', '--to', 'there'],
    /\.\/mirror\.yaml is not an image; did you mean --config \.\/mirror\.yaml\?/,
  ],
  [['check'], /name the file/],
  [['check', 'a.yaml', '--config', 'b.yaml'], /name one file \(got b\.yaml, a\.yaml\)/],
  [['ls'], /name the archive/],
  [['verify', 'there', 'team/app', '--repair'], /--repair needs the whole archive/],
  [['verify', 'there', '--yes'], /--yes confirms a repair/],
  [['verify'], /name the archive/],
  [['status', 'there', 'run-1', 'run-2'], /name one run at a time \(got also run-2\)/],
  [['convert', 'old:1'], /and the archive that has it/],
  [['ls', 'there', '--as-of', '2026-02-30'], /parse --as-of "2026-02-30": expected a time such as/],
  [['serve'], /name one archive/],
  [['serve', 'there', 'too'], /name one archive/],
  [['serve', 'there', '--tls-cert', 'cert.pem'], /--tls-cert and --tls-key belong together/],
  [['serve', 'there', '--tls-key', 'key.pem'], /--tls-cert and --tls-key belong together/],
  [['serve', 'there', '--config', 'm.yaml', '--as-of', '2026-01-31'], /leave out one of them/],
  [['serve', 'there', '--listen', '127.0.0.1'], /must be HOST:PORT, .*, not "127\.0\.0\.1"/],
  [['serve', 'there', '--listen', '127.0.0.1:65536'], /must be HOST:PORT, .*, not "127\.0\.0\.1:65536"/],
  [['serve', 'there', '--default-host', 'docker'], /must be a host, .*, not "docker"/],
  [['serve', 'there', '--default-host', 'docker.io/library'], /must be a host, .*, not "docker.io\/library"/],
  [['history', 'a:1'], /and the archive that has it/],
  [['history', `a@sha256:${'0'.repeat(64)}`, 'there'], /names a digest; name a tag instead/],
  [['convert', 'old:1', 'there', '--as', 'a b'], /"a b" is not a tag/],
  [
    ['mirror', 'alpine'],
    /unknown command "mirror" \(available: sync, check, ls, history, serve, client-config, verify, release, reject, convert, status, completion\)/,
  ],
  [['snyc', 'alpine'], /unknown command "snyc" \(did you mean sync\?\)/],
])('%j is wrong usage with exit code 2 and the problem', async (args, why) => {
  const ended = await runMain(args);
  expect(ended).toMatchObject({ code: 2, stdout: '' });
  expect(ended.stderr).toMatch(why);
  expect(ended.stderr).toMatch(/(?:\.|\?) Run 'mirror-sync (?:\w+ )?--help' for usage\.\n$/);
  expect(/mirror-sync \w+: mirror-sync/.exec(ended.stderr)).toBeNull();
});

const NO_ARCHIVE = 'there is not a mirror-sync archive';

test.each([
  [['--tls-cert', 'cert.pem', '--tls-key', 'key.pem'], 'read TLS file cert.pem: no such file'],
  [['--config', 'm.yaml'], 'read configuration m.yaml: no such file'],
  [['--as-of', '2026-01-31'], NO_ARCHIVE],
  [['--listen', '127.0.0.1:65535'], NO_ARCHIVE],
  [['--listen', '[::1]:0'], NO_ARCHIVE],
  [['--default-host', 'docker.io'], NO_ARCHIVE],
  [['--default-host', 'localhost'], NO_ARCHIVE],
])('serve accepts %j, and reports the first missing file', async (args, problem) => {
  const ended = await runMain(['serve', 'there', ...args]);
  expect(ended).toMatchObject({ code: 2, stdout: '' });
  expect(ended.stderr).toContain(problem);
});

describe('an option', () => {
  const sync = ['sync', 'alpine', '--to', 'there'];

  test.each([
    [[...sync, '--dest', 'x'], 'mirror-sync sync: unknown option --dest (did you mean --to?)'],
    [[...sync, '--dry-run'], 'mirror-sync sync: unknown option --dry-run (available: --to, --config, --all-tags, '],
    [[...sync, '--verbose'], 'unknown option --verbose (available: '],
    [[...sync, '--tls-verify=false'], 'unknown option --tls-verify (did you mean --insecure-registry?)'],
    [[...sync, '--platfrom', 'linux/amd64'], 'unknown option --platfrom (did you mean --platform?)'],
    [[...sync, '--concurency', '3'], 'unknown option --concurency (did you mean --concurrency?)'],
    [[...sync, '-x'], 'unknown option -x (available: '],
    [[...sync, '-o', 'x'], 'unknown option -o (did you mean --to?)'],
    [[...sync, '--constructor'], 'unknown option --constructor (available: '],
    [[...sync, '--__proto__=1'], 'unknown option --__proto__ (available: '],
    [['ls', 'there', '--jsn'], 'mirror-sync ls: unknown option --jsn (did you mean --json?)'],
    [['verify', 'there', '--fix'], 'mirror-sync verify: unknown option --fix (did you mean --repair?)'],
    [['status', 'there', '--repair'], 'mirror-sync status: unknown option --repair (available: --json)'],
    [['check', 'm.yaml', '-q'], 'mirror-sync check: unknown option -q (available: --config, --json)'],
    [['convert', 'a', 'there', '--tag', 'x'], 'mirror-sync convert: unknown option --tag (available: --as)'],
  ])('that is unknown is reported with the most similar one: %j', async (args, message) => {
    const ended = await runMain(args);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toContain(message);
  });

  test.each([
    [['sync', 'alpine', '--to'], '--to needs a value. Run '],
    [['sync', 'alpine', '--to='], '--to needs a value. Run '],
    [['sync', 'alpine', '--to', '--json'], '--to needs a value, and --json is an option. Run '],
    [['sync', '--to', 'there', '--platform'], '--platform needs a value. Run '],
    [['ls', 'there', '--json=yes'], '--json takes no value (got "yes"). Run '],
  ])('with a missing or superfluous value is reported: %j', async (args, message) => {
    const ended = await runMain(args);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toContain(message);
  });
});

describe('help', () => {
  test.each([[[]], [['help']], [['--help']], [['-h']], [['help', 'help']]])(
    'lists the commands for %j',
    async (args: string[]) => {
      const ended = await runMain(args);
      expect(ended).toMatchObject({ code: 0, stderr: '' });
      for (const { name, summary } of TABLE) expect(ended.stdout).toContain(`  ${name.padEnd(14)} ${summary}\n`);
      for (const word of ['--all-tags', '--platform', '--config']) expect(ended.stdout).toContain(word);
    },
  );

  test.each(['help', '--help'])('of an unknown command is wrong usage (%s)', async (help) => {
    expect(await runMain([help, 'snyc'])).toEqual({
      code: 2,
      stdout: '',
      stderr: `mirror-sync: unknown command "snyc" (did you mean sync?). Run 'mirror-sync --help' for usage.\n`,
    });
  });

  test.each(COMMANDS)('of %s is the same for each way of asking, and has its options', async (command) => {
    const [first, ...others] = await Promise.all(
      [
        ['help', command],
        [command, '--help'],
        [command, 'x', '-h'],
        ['--help', command],
      ].map((args) => runMain(args)),
    );
    expect(first).toMatchObject({ code: 0, stderr: '' });
    expect(first?.stdout).toMatch(new RegExp(`^mirror-sync ${command}: `));
    for (const other of others) expect(other).toEqual(first);
    const options = Object.keys(TABLE.find(({ name }) => name === command)?.options ?? {});
    for (const option of options) expect(first?.stdout).toContain(`  --${option}`);
  });

  test('fits into 80 columns', async () => {
    const texts = await Promise.all([runMain([]), ...COMMANDS.map((command) => runMain(['help', command]))]);
    for (const { stdout } of texts)
      for (const line of stdout.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80);
  });

  test('is not printed for an option after --', async () => {
    expect(await runMain(['ls', '--', '--help'])).toMatchObject({ code: 2, stdout: '' });
  });
});

test.each(['--version', '-V', '-v', 'version'])('%s prints the version of package.json', async (argument) => {
  const project = await readFile(join(import.meta.dirname, '../../../package.json'), 'utf8');
  const { version } = JSON.parse(project) as { version: string };
  expect(await runMain([argument])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
});

describe('files', () => {
  let folder: TempFolder;

  beforeAll(async () => {
    folder = await tempFolder();
  });

  afterAll(() => folder.remove());

  test.each([
    ['no-such.yaml', 'no such file or directory'],
    ['.', 'it is a directory'],
  ])('of configuration that cannot be read are named, with the reason in words: %s', async (name, words) => {
    const path = folder.join(name);
    for (const args of [
      ['sync', '--config', path, '--to', folder.join('x')],
      ['check', path],
    ])
      expect(await runMain(args)).toEqual({
        code: 2,
        stdout: '',
        stderr: `mirror-sync ${args[0] ?? ''}: read configuration ${path}: ${words}\n`,
      });
  });

  test('of credentials that cannot be read are named, with the reason in words', async () => {
    const args = ['sync', 'localhost:1/a', '--to', folder.join('x'), '--authfile', folder.path];
    expect(await runMain(args)).toMatchObject({
      code: 2,
      stderr: `mirror-sync sync: read credentials ${folder.path}: it is a directory\n`,
    });
  });

  test('of an archive are refused on Windows, with the alternatives', async () => {
    const ended = await runMain(['ls', folder.path], { platform: 'win32' });
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toMatch(
      /^mirror-sync ls: open archive .* Windows lacks; use WSL 2, a Linux container, or s3:/,
    );
    expect(await runMain(['--version'], { platform: 'win32' })).toMatchObject({ code: 0 });
  });
});
