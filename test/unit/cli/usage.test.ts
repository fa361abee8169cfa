import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { main } from '../../../lib/cli/main.ts';

async function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  let [stdout, stderr] = ['', ''];
  const io = {
    stdout: { write: (text: string) => void (stdout += text) },
    stderr: { write: (text: string) => void (stderr += text) },
    env: {},
    signal: new AbortController().signal,
  };
  const code = await main(args, io);
  return { code, stdout, stderr };
}

// Nothing is asked of a registry and nothing is written: the arguments alone are wrong.
test.each([
  [['sync'], /name at least one image/],
  [['sync', 'alpine'], /say where to with --to/],
  [['sync', 'Alpine', '--to', 'there'], /upper-case/],
  [['sync', 'alpine:', '--to', 'there'], /parse reference/],
  [['sync', 'alpine', '--to', 'there', '--platform', 'linux'], /OS\/ARCH/],
  [['sync', 'alpine:3', '--to', 'there', '--all-tags'], /names one image/],
  [['sync', 'alpine', '--to', 'there', '--concurrency', '0'], /from 1 to \d+, not "0"/],
  [['sync', 'alpine', '--to', 'there', '--concurrency', 'many'], /not "many"/],
  [['sync', 'alpine', '--to', 'there', '--no-such-option'], /--no-such-option/],
  [
    ['sync', 'alpine', '--to', 'there', '--insecure-registry', 'http://foo bar'],
    /takes a registry’s host .*, not "http:\/\/foo bar"/,
  ],
  [['sync', 'alpine', '--to', 'there', '--insecure-registry', 'quay.io/team'], /not "quay.io\/team"/],
  [['sync', 'alpine', '--to', 'there', '--foreign-layers', 'no'], /--foreign-layers takes fetch or skip, not "no"/],
  [['sync', '--config', 'm.yaml', '--to', 'there', '--foreign-layers', 'skip'], /goes with references/],
  [['sync', '--config', 'm.yaml', '--to', 'there', '--strict-media-types'], /goes with references/],
  [['ls'], /name the archive/],
  [['ls', 'one', 'two'], /one archive at a time, not also two/],
  [['verify'], /name the archive/],
  [['convert', 'old:1'], /and the archive that has it/],
  [['convert', 'old:1', 'there', '--as', 'a b'], /"a b" is no tag/],
  [['mirror', 'alpine'], /no such command/],
])('%j is wrong usage: 2, and what is wrong with it', async (args, why) => {
  const ended = await run(...args);
  expect(ended).toMatchObject({ code: 2, stdout: '' });
  expect(ended.stderr).toMatch(why);
  expect(ended.stderr).toContain('--help');
});

// What is asked for is no error, and goes where it can be piped on.
test.each([[[]], [['help']], [['--help']], [['-h']]])('%j tells how it is used', async (args: string[]) => {
  const ended = await run(...args);
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  for (const word of ['sync', 'ls', 'verify', '--all-tags', '--platform', '--authfile'])
    expect(ended.stdout).toContain(word);
});

test('--version says the version of package.json', async () => {
  const project = await readFile(join(import.meta.dirname, '../../../package.json'), 'utf8');
  const { version } = JSON.parse(project) as { version: string };
  expect(await run('--version')).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
});
