/**
 * Installs mirror-sync in each way that the README names, in a clean environment for each Node.js that npm runs on. Each way
 * either works or prints one sentence that says what it needs.
 *
 *   node test/package/run.ts [--clone]
 *
 * Without --clone it packs this folder, and runs `npm install --global` and `npx` of the packed file. With --clone it clones
 * the last commit, runs `npm ci` and the command in the clone, packs it there, and goes on with that file.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, readdir, readFile, realpath, symlink, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { packPackage } from '../kit/package.ts';
import { tempFolder } from '../kit/temp.ts';

const ROOT = join(import.meta.dirname, '../..');

/** Those that npm 11 runs on, the oldest first. */
const VERSIONS = ['20', '22', '24'];
const NEEDED = 24;

interface Ended {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

type Environment = Readonly<Record<string, string>>;

function command(cwd: string, env: Environment, name: string, ...args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(name, args, { cwd, env, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code ?? String(error.signal)), stdout, stderr });
    });
  });
}

/** Runs a command that has to succeed, and gives what it prints. */
async function succeed(cwd: string, env: Environment, name: string, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await command(cwd, env, name, ...args);
  assert.equal(code, 0, `${name} ${args.join(' ')} ended with ${code}:\n${stdout}${stderr}`);
  return stdout.trim();
}

function say(text: string): void {
  process.stdout.write(`${String(Math.round(process.uptime())).padStart(4)} s  ${text}\n`);
}

await using folder = await tempFolder();
const PATH = process.env['PATH'] ?? '';
const isNetwork = ([name]: readonly [string, unknown]): boolean =>
  /^(\w+_proxy|\w+_cert_\w+|\w+_ca_certs)$/i.test(name);
const network = Object.fromEntries(Object.entries(process.env).filter(isNetwork)) as Environment;
const tester = { PATH, HOME: process.env['HOME'] ?? '', ...network };
// Of the tester's settings, those that decide how npm reaches packages. Everything else is npm's default.
const npmSettings = {
  ...network,
  npm_config_cache: await succeed(folder.path, tester, 'npm', 'config', 'get', 'cache'),
  npm_config_userconfig: await succeed(folder.path, tester, 'npm', 'config', 'get', 'userconfig'),
  npm_config_audit: 'false',
  npm_config_fund: 'false',
  npm_config_update_notifier: 'false',
};
const npm = await realpath(await succeed(folder.path, tester, 'sh', '-c', 'command -v npm'));

/** An environment of its own, in which `node` is of this version. */
async function environment(version: string): Promise<{ readonly env: Environment; readonly node: string }> {
  const home = folder.join(`node-${version}`);
  const bin = join(home, 'bin');
  await mkdir(bin, { recursive: true });
  const name = `node-${process.platform}-${process.arch}`;
  await writeFile(join(home, 'package.json'), '{}');
  await succeed(home, { ...tester, ...npmSettings }, 'npm', 'install', '--no-save', `${name}@${version}`);
  await symlink(join(home, 'node_modules', name, 'bin/node'), join(bin, 'node'));
  await symlink(npm, join(bin, 'npm'));
  await symlink(npm.replace(/npm-cli\.js$/, 'npx-cli.js'), join(bin, 'npx'));
  const env = {
    PATH: [bin, PATH].join(delimiter),
    HOME: home,
    npm_config_prefix: join(home, 'prefix'),
    ...npmSettings,
  };
  const actual = await succeed(home, env, 'node', '--version');
  assert.match(actual, new RegExp(`^v${version}\\.`));
  return { env, node: actual.slice(1) };
}

/** Clones the last commit, and installs and uses it as the README says. Gives the path of the packed file. */
async function clone(env: Environment, node: string): Promise<string> {
  const path = folder.join(`clone-${node}`);
  await succeed(folder.path, env, 'git', 'clone', '--quiet', ROOT, path);
  await succeed(path, env, 'npm', 'ci');
  assert.equal(await succeed(path, env, 'npm', 'run', '-s', 'mirror-sync', '--', '--version'), expected);
  await succeed(path, env, 'npm', 'pack');
  const packed = (await readdir(path)).find((name) => name.endsWith('.tgz'));
  assert.ok(packed !== undefined, 'npm pack writes a file');
  say(`Node.js ${node}: a clone works, and is packed`);
  return join(path, packed);
}

const { version: expected } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string };

/** The command prints its version where Node.js is new enough, and elsewhere one sentence. */
function check(ended: Ended, node: string, how: string): void {
  const said = ended.stderr.split('\n').filter((line) => line !== '' && !line.startsWith('npm '));
  const works = Number.parseInt(node) >= NEEDED;
  const refusal = `mirror-sync needs Node.js ${NEEDED} or newer; this is ${node}`;
  assert.deepEqual(
    { code: ended.code, stdout: ended.stdout.trim(), said },
    works ? { code: 0, stdout: expected, said: [] } : { code: 2, stdout: '', said: [refusal] },
    `${how} on Node.js ${node} printed:\n${ended.stdout}${ended.stderr}`,
  );
  say(`Node.js ${node}: ${how}: ${works ? `works (${expected})` : refusal}`);
}

if (!['linux-x64', 'linux-arm64', 'darwin-x64'].includes(`${process.platform}-${process.arch}`)) {
  say(`skipped: npm has no binaries of old Node.js for ${process.platform}-${process.arch}`);
} else {
  const isCloned = process.argv.includes('--clone');
  const packed = isCloned ? undefined : folder.join((await packPackage(folder)).filename);
  for (const version of VERSIONS) {
    const { env, node } = await environment(version);
    const empty = folder.join(`empty-${version}`);
    await mkdir(empty);
    await copyFile(packed ?? (await clone(env, node)), join(empty, 'mirror-sync.tgz'));
    const installed = await command(empty, env, 'npm', 'install', '--global', './mirror-sync.tgz');
    assert.equal(installed.code, 0, installed.stderr);
    if (Number(version) >= NEEDED) assert.equal(installed.stderr, '', 'npm install --global warns about nothing');
    const program = join(env['npm_config_prefix'] ?? '', 'bin/mirror-sync');
    check(await command(empty, env, program, '--version'), node, 'npm install --global');
    check(await command(empty, env, 'npx', '--yes', './mirror-sync.tgz', '--version'), node, 'npx');
  }
  say('all steps passed');
}
