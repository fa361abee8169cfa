import type { Command, Option } from '../command.ts';
import { isFlag } from '../options.ts';
import { clause, entriesOf, type Entry } from './entries.ts';

/** For `source <(…)`, and for a file \`_mirror-sync\` in a folder of \`$fpath\`. */
export function zshCompletion(commands: readonly Command[]): string {
  const entries = entriesOf(commands);
  const described = entries.map(({ name, summary }) => `      ${quoted(`${name}:${summary}`)}`);
  return `#compdef mirror-sync
# zsh completion of mirror-sync
_mirror-sync() {
  if (( CURRENT == 2 )); then
    local -a commands=(
${described.join('\n')}
    )
    _describe command commands
    return
  fi
  local name=$words[2]
  shift words
  (( CURRENT -= 1 ))
  case $name in
${entries.map(caseOf).join('\n')}
  esac
}
if [ "$funcstack[1]" = _mirror-sync ]; then
  _mirror-sync "$@"
else
  compdef _mirror-sync mirror-sync
fi
`;
}

function caseOf({ name, options, words }: Entry): string {
  const first = words === undefined ? [] : [`1:argument:(${words.join(' ')})`];
  const specs = [...options.flatMap(specsOf), ...first, '*:argument:_files'].map(quoted);
  return `    ${name}) _arguments ${specs.join(' ')} ;;`;
}

function specsOf([name, option]: readonly [string, Option]): string[] {
  const { value, choices, isPath = false, isRepeatable = false, short, help } = option;
  const argument =
    choices === undefined ? `:${escaped(value ?? '')}:${isPath ? '_files' : ''}` : `:value:(${choices.join(' ')})`;
  const names = [`--${name}`, ...(short === undefined ? [] : [`-${short}`])];
  return names.map(
    (each) => `${isRepeatable ? '*' : ''}${each}[${escaped(clause(help))}]${isFlag(option) ? '' : argument}`,
  );
}

function escaped(text: string): string {
  return text.replace(/[[\]:\\]/g, '\\$&');
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
