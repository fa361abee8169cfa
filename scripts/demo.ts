/**
 * The demonstration: builds an image from local files, serves it from a registry on loopback, and mirrors it with the command
 * line. It needs no network, and removes the archive unless `--keep` is given. A failed step ends it with exit code 1.
 */
import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type Image, makeImage, makeLayer } from '../test/kit/images.ts';
import { startRegistry } from '../test/kit/registry.ts';
import type { TarEntry } from '../test/kit/tar.ts';
import { tempFolder } from '../test/kit/temp.ts';

const ROOT = join(import.meta.dirname, '..');
const REPOSITORY = 'demo/node';
const TAG = process.versions.node;

const KEEP = process.argv.includes('--keep');
let kept = false;

const interrupted = new AbortController();
process.once('SIGINT', () => {
  // The running command also receives the signal and stops; only the folder must be removed here.
  interrupted.abort(new Error('interrupted'));
});

try {
  await demonstrate();
} catch (error) {
  process.stderr.write(`\ndemo: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

async function demonstrate(): Promise<void> {
  say('Building an image: the Node.js that runs this (gzip), this project (gzip), its sources (zstd) ...');
  const image = await buildImage();
  await using registry = await startRegistry();
  await using disposables = new AsyncDisposableStack();
  const folder = await tempFolder();
  // After an error the folder is removed.
  disposables.defer(() => (kept ? undefined : folder.remove()));
  registry.push(REPOSITORY, image, TAG);
  const reference = `${registry.host}/${REPOSITORY}:${TAG}`;
  const archive = folder.join('archive');
  say(`A registry on loopback serves it as ${reference}\n  ${image.digest}`);

  await mirrorSync('sync', reference, '--to', archive);

  await mirrorSync('ls', archive);
  const listed = await output('ls', archive, '--json');
  expect(listed.includes(image.digest), `ls does not list ${image.digest}, which is what the registry serves`);

  await mirrorSync('verify', archive);

  registry.forgetRequests();
  await mirrorSync('sync', reference, '--to', archive);
  const seen = registry.requests.map(({ method, path }) => `${method} ${path}`);
  say(`Requests to the registry: ${seen.join(', ')}`);
  expect(
    seen.length === 1 && registry.count({ method: 'HEAD' }) === 1,
    'an unchanged tag should cost exactly one HEAD',
  );

  kept = KEEP;
  const where = KEEP
    ? `The archive is in ${archive}`
    : `The archive in ${archive} was removed; npm run demo -- --keep keeps it`;
  say(`That is all. ${where}.

To mirror from Docker Hub, into a folder of your own:

  npm run -s mirror-sync -- sync alpine:latest --to ./archive --platform linux/amd64
  npm run -s mirror-sync -- ls ./archive
  npm run -s mirror-sync -- verify ./archive`);
}

async function buildImage(): Promise<Image> {
  const node = { path: 'usr/local/bin/node', content: await readFile(process.execPath), mode: 0o755 };
  const documents = ['package.json', ...(await filesBelow('docs'))];
  return makeImage({
    layers: [
      makeLayer({ files: [node], level: 1 }),
      makeLayer({ files: await entries(documents) }),
      makeLayer({ files: await entries(await filesBelow('lib')), compression: 'zstd' }),
    ],
    platform: { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' },
    overrides: { config: { config: { Cmd: ['/usr/local/bin/node'], WorkingDir: '/opt/mirror-sync' } } },
  });
}

async function filesBelow(folder: string): Promise<string[]> {
  const found = await readdir(join(ROOT, folder), { recursive: true, withFileTypes: true });
  return found
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1))
    .sort();
}

function entries(files: readonly string[]): Promise<TarEntry[]> {
  return Promise.all(
    files.map(async (file) => ({ path: `opt/mirror-sync/${file}`, content: await readFile(join(ROOT, file)) })),
  );
}

/** Runs the command line with inherited output, so that a terminal shows its progress. */
async function mirrorSync(...args: string[]): Promise<void> {
  interrupted.signal.throwIfAborted();
  say(`$ npm run -s mirror-sync -- ${args.join(' ')}`);
  const code = await exitOf(command(args, 'inherit'));
  interrupted.signal.throwIfAborted();
  expect(code === 0, `mirror-sync ${args[0] ?? ''} ended with ${String(code)}`);
}

async function output(...args: string[]): Promise<string> {
  const child = command(args, 'pipe');
  const [code, all] = await Promise.all([exitOf(child), child.stdout === null ? '' : text(child.stdout)]);
  expect(code === 0, `mirror-sync ${args.join(' ')} ended with ${String(code)}`);
  return all;
}

function command(args: readonly string[], stdout: 'inherit' | 'pipe'): ReturnType<typeof spawn> {
  return spawn(process.execPath, [join(ROOT, 'lib/cli/main.ts'), ...args], { stdio: ['ignore', stdout, 'inherit'] });
}

function exitOf(child: ReturnType<typeof spawn>): Promise<number | NodeJS.Signals | null> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      resolve(code ?? signal);
    });
  });
}

function expect(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}

function say(words: string): void {
  process.stdout.write(`\n${words}\n`);
}
