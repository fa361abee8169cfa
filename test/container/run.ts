/**
 * Builds the container image of the Dockerfile and mirrors with it. No registry is needed: the base image is a Debian that
 * debootstrap makes, with the Node.js that runs this. Needs root; where a tool is missing, it says so and ends with code 77.
 *
 *   node test/container/run.ts
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chown, copyFile, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { makeImage, makeLayer } from '../kit/images.ts';
import { packPackage } from '../kit/package.ts';
import { isInstalled } from '../kit/real.ts';
import { startRegistry } from '../kit/registry.ts';
import { tempFolder } from '../kit/temp.ts';

const ROOT = join(import.meta.dirname, '../..');
const SKIPPED = 77;
const SUITE = 'bookworm';
const DEBIAN = 'http://deb.debian.org/debian';
/** The user of the Dockerfile. */
const USER = 65_532;
const NAME = 'localhost/mirror-sync';
const PACKAGE = '/opt/mirror-sync/package';

function say(text: string): void {
  process.stdout.write(`${String(Math.round(process.uptime())).padStart(4)} s  ${text}\n`);
}

const missing = ['debootstrap', 'buildah', 'podman', 'runc'].filter((tool) => !isInstalled(tool));
const reasons = [
  ...(missing.length === 0 ? [] : [`not installed: ${missing.join(', ')}`]),
  ...(process.getuid?.() === 0 ? [] : ['debootstrap needs root']),
];
if (reasons.length > 0) {
  say(`skipped: ${reasons.join('; ')}`);
  process.exit(SKIPPED);
}

await using folder = await tempFolder();
// The machine may not allow more open files than it gives, which podman asks for by default.
await writeFile(folder.join('containers.conf'), '[containers]\ndefault_ulimits = []\n');
const env = { ...process.env, BUILDAH_ISOLATION: 'chroot', CONTAINERS_CONF: folder.join('containers.conf') };
const store = ['--storage-driver', 'vfs', '--root', folder.join('store'), '--runroot', folder.join('runroot')];

async function run(command: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(command, args, { env, maxBuffer: 64 * 1024 * 1024 });
  return stdout.trim();
}

/** As Kubernetes runs it under its `restricted` policy, with a root that cannot be written. */
const CONFINED = ['--read-only', '--cap-drop', 'all', '--security-opt', 'no-new-privileges'];

/** Runs the image, and gives what it prints. Options of podman come before the arguments of the image. */
function container(options: readonly string[], ...args: readonly string[]): Promise<string> {
  // runc with cgroupfs also runs where systemd is not there, or cgroups of both versions are.
  const podman = ['--runtime', 'runc', '--cgroup-manager', 'cgroupfs', ...store];
  return run('podman', ...podman, 'run', '--rm', '--network', 'host', ...CONFINED, ...options, NAME, ...args);
}

await run('debootstrap', '--variant=minbase', SUITE, folder.join('debian'), DEBIAN);
await copyFile(process.execPath, folder.join('debian/usr/local/bin/node'));
await mkdir(folder.join('base'));
await run('tar', '--directory', folder.join('debian'), '--create', '--file', folder.join('base/root.tar'), '.');
await rm(folder.join('debian'), { recursive: true });
await writeFile(folder.join('base/Dockerfile'), 'FROM scratch\nADD root.tar /\n');
await run('buildah', ...store, 'build', '--quiet', '--tag', 'localhost/base', folder.join('base'));
say(`base image: Debian ${SUITE} with Node.js ${process.versions.node}`);

const context = folder.join('context');
await mkdir(context);
const { filename } = await packPackage(folder);
await copyFile(folder.join(filename), join(context, filename));
for (const file of ['Dockerfile', '.dockerignore']) await cp(join(ROOT, file), join(context, file));
await run('buildah', ...store, 'build', '--quiet', '--build-arg', 'BASE=localhost/base', '--tag', NAME, context);
say(`${NAME} is built`);

const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string };
assert.equal(await container([], '--version'), version);
assert.match(await container(['--entrypoint', 'id']), new RegExp(`^uid=${USER}\\b.* gid=${USER}\\b`));
say(`it runs version ${version} as the user ${USER}`);

for (const file of ['LICENSE', 'dist/THIRD-PARTY-NOTICES.txt', 'dist/sbom.cdx.json'])
  assert.ok((await container(['--entrypoint', 'cat'], join(PACKAGE, file))).length > 1_000, `${file} is in the image`);
say('it contains its licence, the licences of others, and the SBOM');

await using registry = await startRegistry();
registry.push('team/app', makeImage({ layers: [makeLayer({ seed: 1, size: 1_000_000 })] }), '1');
for (const user of [USER, 12_345]) {
  const data = folder.join(`data-${user}`);
  await mkdir(data);
  await chown(data, user, user);
  const options = ['--user', `${user}:${user}`, '--volume', `${data}:/data`];
  const synced = await container(options, 'sync', `${registry.host}/team/app:1`, '--to', './archive', '--quiet');
  assert.match(synced, /1 mirrored/);
  const verified = await container(options, 'verify', './archive');
  assert.match(verified, /1 reference, 3 objects/);
  say(`as the user ${user} it mirrors into a volume: ${verified}`);
}
say('all steps passed');
