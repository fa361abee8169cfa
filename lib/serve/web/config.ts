/**
 * Reads the config of an image for a page. The values are untrusted: a value of an unexpected type counts as missing.
 */
import { own } from '../../core/own.ts';
import { arrayOf, listOf, objectIn, objectOf, textOf } from '../../core/untyped.ts';
import type { LayerHistory } from '../../oci/schema1.ts';

/** The maximum number of shown elements of a list. */
const MAX_SHOWN = 200;

export interface HistoryStep {
  readonly created: string | undefined;
  readonly command: string;
  readonly isEmpty: boolean;
}

export interface ConfigView {
  /** The texts in the config, and its lists of texts as one line each. */
  readonly facts: readonly (readonly [name: string, value: string])[];
  readonly labels: readonly (readonly [name: string, value: string])[];
  readonly environment: readonly string[];
  readonly history: readonly HistoryStep[];
  /** The number of elements of the lists above that are left out. */
  readonly omitted: number;
  /** The whole document, indented. */
  readonly text: string;
}

/** Undefined for bytes that are not a JSON object. */
export function viewOf(bytes: Uint8Array): ConfigView | undefined {
  const document = objectIn(bytes);
  if (document === undefined) return undefined;
  const config = objectOf(own(document, 'config'));
  const labels = Object.entries(objectOf(own(config, 'Labels'))).map(([name, value]) => [name, textOf(value)] as const);
  const environment = listOf(own(config, 'Env'));
  const steps = arrayOf(own(document, 'history')).map(stepOf);
  const all = [labels, environment, steps];
  return {
    facts: factsOf(document, config),
    labels: labels.slice(0, MAX_SHOWN),
    environment: environment.slice(0, MAX_SHOWN),
    history: steps.slice(0, MAX_SHOWN),
    omitted: all.reduce((sum, { length }) => sum + Math.max(0, length - MAX_SHOWN), 0),
    text: JSON.stringify(document, null, 2),
  };
}

function factsOf(
  document: Record<string, unknown>,
  config: Record<string, unknown>,
): readonly (readonly [string, string])[] {
  const words = (name: string): string => listOf(own(config, name)).slice(0, MAX_SHOWN).map(quoted).join(' ');
  const names = (name: string): string =>
    Object.keys(objectOf(own(config, name)))
      .slice(0, MAX_SHOWN)
      .join(', ');
  const all: readonly (readonly [string, string])[] = [
    ['Created', textOf(own(document, 'created'))],
    ['Author', textOf(own(document, 'author'))],
    ['Operating system', [own(document, 'os'), own(document, 'os.version')].map(textOf).join(' ').trim()],
    ['Architecture', [own(document, 'architecture'), own(document, 'variant')].map(textOf).join(' ').trim()],
    ['Entrypoint', words('Entrypoint')],
    ['Command', words('Cmd')],
    ['Working directory', textOf(own(config, 'WorkingDir'))],
    ['User', textOf(own(config, 'User'))],
    ['Exposed ports', names('ExposedPorts')],
    ['Volumes', names('Volumes')],
    ['Stop signal', textOf(own(config, 'StopSignal'))],
  ];
  return all.filter(([, value]) => value !== '');
}

/** A step of a schema 1 image. */
export function stepOfSchema1({ created, created_by: command = '' }: LayerHistory, isEmpty: boolean): HistoryStep {
  return { created, command, isEmpty };
}

function stepOf(value: unknown): HistoryStep {
  const step = objectOf(value);
  const created = textOf(own(step, 'created'));
  const command = textOf(own(step, 'created_by')) || textOf(own(step, 'comment'));
  return { created: created === '' ? undefined : created, command, isEmpty: own(step, 'empty_layer') === true };
}

/** An argument as a shell shows it: in quotes if it has spaces. */
function quoted(word: string): string {
  return /^[\w./:=@%+,-]+$/.test(word) ? word : JSON.stringify(word);
}
