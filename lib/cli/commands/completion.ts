import { type Command, defineCommand, usage } from '../command.ts';
import { bashCompletion } from '../completion/bash.ts';
import { fishCompletion } from '../completion/fish.ts';
import { zshCompletion } from '../completion/zsh.ts';
import { show } from '../../oci/show.ts';
import { EXIT } from '../output/io.ts';

const SHELLS: ReadonlyMap<string, (commands: readonly Command[]) => string> = new Map([
  ['bash', bashCompletion],
  ['zsh', zshCompletion],
  ['fish', fishCompletion],
]);

/** @param commands the table of all commands, including this one */
export function completion(commands: () => readonly Command[]): Command {
  return defineCommand({
    name: 'completion',
    summary: 'print a script for completions in bash, zsh or fish',
    usage: [[...SHELLS.keys()].join('|')],
    description: [
      'bash: add to ~/.bashrc: source <(mirror-sync completion bash)',
      'zsh: add to ~/.zshrc, after compinit: source <(mirror-sync completion zsh)',
      'fish: mirror-sync completion fish > ~/.config/fish/completions/mirror-sync.fish',
    ],
    words: [...SHELLS.keys()],
    options: {},
    parse({ positionals: [shell, ...more] }) {
      const names = [...SHELLS.keys()].join(', ');
      if (shell === undefined || more.length > 0) throw usage('completion', `name one shell (available: ${names})`);
      const script = SHELLS.get(shell);
      if (script === undefined) throw usage('completion', `unknown shell ${show(shell)} (available: ${names})`);
      return ({ stdout }) => {
        stdout.write(script(commands()));
        return Promise.resolve(EXIT.ok);
      };
    },
  });
}
