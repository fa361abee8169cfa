/** Completions, as the shells return them. */
import { execFile, spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Option } from '../../../lib/cli/command.ts';
import { isFlag } from '../../../lib/cli/options.ts';
import { COMMANDS } from '../../../lib/cli/table.ts';
import { runMain } from '../../kit/in-process.ts';
import { tempFolder, type TempFolder } from '../../kit/temp.ts';

let folder: TempFolder;
const script = (shell: string): string => folder.join(shell);

beforeAll(async () => {
  folder = await tempFolder();
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { code, stdout, stderr } = await runMain(['completion', shell]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    await writeFile(script(shell), stdout);
  }
});

afterAll(() => folder.remove());

async function outputOf(shell: string, args: readonly string[]): Promise<string[]> {
  const { stdout } = await promisify(execFile)(shell, args);
  return stdout.split('\n').filter((line) => line !== '');
}

const COMPLETE: Readonly<Record<'bash' | 'fish', (words: readonly string[]) => Promise<string[]>>> = {
  bash: (words) =>
    outputOf('bash', [
      '-c',
      'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mirror_sync; printf "%s\\n" "${COMPREPLY[@]}"',
      script('bash'),
      'mirror-sync',
      ...words,
    ]),
  fish: async (words) => {
    const lines = await outputOf('fish', [
      '-c',
      `source ${script('fish')}; complete -C 'mirror-sync ${words.join(' ')}'`,
    ]);
    return lines.map((line) => line.split('\t')[0] ?? '');
  },
};

const has = (shell: string): boolean => spawnSync(shell, ['-c', 'true']).status === 0;
const names = COMMANDS.map(({ name }) => name);

describe.each(['bash', 'fish'] as const)('the completion of %s', (shell) => {
  test.runIf(has(shell)).each([
    [['s'], ['serve', 'status', 'sync']],
    [['help', ''], [...names]],
    [
      ['sync', '--p'],
      ['--platform', '--progress'],
    ],
    [
      ['sync', 'alpine', '--progress', ''],
      ['bar', 'none', 'plain'],
    ],
    [['sync', '--foreign-layers', 's'], ['skip']],
    [['verify', 'archive', '--re'], ['--repair']],
    [
      ['completion', ''],
      ['bash', 'fish', 'zsh'],
    ],
    [['check', '--all'], []],
    [['client-config', 'p'], ['podman']],
    [
      ['client-config', '--registry', 'http://x', ''],
      ['containerd', 'docker', 'k3s', 'podman'],
    ],
  ])('completes %j to the available words', async (words, expected) => {
    expect((await COMPLETE[shell](words)).sort()).toEqual(expected.sort());
  });
});

describe('a positional behind the words of a command', () => {
  test.runIf(has('bash'))('is not completed to these words by bash, so that it completes a path', async () => {
    expect(await COMPLETE.bash(['client-config', 'podman', ''])).toEqual([]);
    expect(await COMPLETE.bash(['client-config', 'podman', '--registry', 'http://x', ''])).toEqual([]);
  });

  test.runIf(has('fish'))('is completed to a path by fish', async () => {
    expect(await COMPLETE.fish(['client-config', 'podman', '/'])).toContain('/tmp/');
    expect(await COMPLETE.fish(['client-config', 'podman', 'do'])).not.toContain('docker');
  });

  test('is completed to a path by zsh', async () => {
    const { stdout } = await runMain(['completion', 'zsh']);
    expect(stdout).toMatch(/^ *client-config\) .* '1:argument:\(containerd .*\)' '\*:argument:_files' ;;$/m);
  });
});

describe('the completion of bash of a value behind =', () => {
  // readline passes the = as a word of its own.
  test.runIf(has('bash')).each([
    ['=', ['bar', 'plain', 'none']],
    ['=|p', ['plain']],
  ])('completes --progress%s', async (rest, expected) => {
    expect(await COMPLETE.bash(['sync', '--progress', ...rest.split('|')])).toEqual(expected);
  });
});

describe('the completion of zsh', () => {
  test.runIf(has('zsh'))('is a script that zsh can parse', async () => {
    await expect(outputOf('zsh', ['-n', script('zsh')])).resolves.toEqual([]);
  });

  test('has each command and each option', async () => {
    const { stdout } = await runMain(['completion', 'zsh']);
    for (const { name, summary, options } of COMMANDS) {
      expect(stdout).toContain(`'${name}:${summary}'`);
      for (const option of Object.keys(options)) expect(stdout).toContain(`--${option}[`);
    }
  });

  test('asks for a value after each option that has one, and after no other', async () => {
    const { stdout } = await runMain(['completion', 'zsh']);
    const valued = new Map(
      [...stdout.matchAll(/--([a-z-]+)\[(?:[^\]\\]|\\.)*\](:?)/g)].map(([, name, colon]) => [name, colon]),
    );
    for (const [name, option] of COMMANDS.flatMap(({ options }) => Object.entries<Option>(options)))
      expect([name, valued.get(name)]).toEqual([name, isFlag(option) ? '' : ':']);
  });
});

test('an unknown shell is refused with the available shells', async () => {
  expect(await runMain(['completion', 'tcsh'])).toEqual({
    code: 2,
    stdout: '',
    stderr:
      'mirror-sync completion: unknown shell "tcsh" (available: bash, zsh, fish). ' +
      "Run 'mirror-sync completion --help' for usage.\n",
  });
});
