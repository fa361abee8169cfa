import type { Command } from '../command.ts';
import { isFlag } from '../options.ts';
import { entriesOf, type Entry } from './entries.ts';

/** Uses neither `compopt` nor `mapfile`, which the bash of macOS (3.2) lacks. If the function finds nothing, bash completes paths. */
export function bashCompletion(commands: readonly Command[]): string {
  const entries = entriesOf(commands);
  return `# bash completion of mirror-sync
_mirror_sync() {
  local word=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]} words=
  COMPREPLY=()
  # readline splits --option=value into three words.
  if [ "$word" = = ]; then
    word=
  elif [ "$previous" = = ]; then
    previous=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  if [ "$COMP_CWORD" -eq 1 ]; then
    words='${entries.map(({ name }) => name).join(' ')} --help --version'
  else
    case \${COMP_WORDS[1]} in
${entries.map(caseOf).join('\n')}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _mirror_sync mirror-sync
`;
}

/** Offers the words until one of them is in front of the cursor: they are the first positional. */
function unlessUsed(words: readonly string[]): string {
  const used = words.map((word) => `*' ${word} '*`).join('|');
  return `case " \${COMP_WORDS[*]:2:COMP_CWORD-2} " in ${used}) ;; *) words='${words.join(' ')}' ;; esac`;
}

function caseOf({ name, options, words = [] }: Entry): string {
  const lines = [
    ...options.flatMap(([option, { choices }]) =>
      choices === undefined ? [] : [`--${option}:*) words='${choices.join(' ')}' ;;`],
    ),
    ...options.flatMap(([option, definition]) =>
      isFlag(definition) || definition.choices !== undefined ? [] : [`--${option}:*) ;;`],
    ),
    `*:-*) words='${options.map(([option]) => `--${option}`).join(' ')}' ;;`,
    ...(words.length === 0 ? [] : [`*) ${unlessUsed(words)} ;;`]),
  ];
  return `      ${name}) case $previous:$word in\n${lines.map((line) => `        ${line}\n`).join('')}      esac ;;`;
}
