import type { core } from 'zod/mini';
import { closest } from '../core/suggest.ts';
import { show, showKey } from './show.ts';

/** One problem of a value that a schema has refused. */
export interface Problem {
  readonly path: Path;
  readonly detail: string;
  /** Whether the key is wrong, and not its value. */
  readonly isKey?: boolean;
}

/** The keys and indexes that lead to a value. */
export type Path = readonly PropertyKey[];

type Issue = core.$ZodIssue;

/**
 * Converts zod's issues with a value to problems. zod checks the length of a text where a list is expected; only the issue
 * about the list is reported. The message of a schema is the expected value, such as `a list of
 * tags`, the message of a check is the problem, and the message of unknown keys lists the known ones.
 *
 * @param issues reported with `reportInput`
 * @param shown the value of an issue, for a message
 */
export function problemsOf(issues: readonly Issue[], shown: (issue: Issue) => string): Problem[] {
  return issues.flatMap((issue) => {
    const { path } = issue;
    const problem = (detail: string): Problem => ({ path, detail });
    switch (issue.code) {
      case 'custom':
        return problem(issue.message);
      case 'unrecognized_keys':
        return issue.keys.map((key) => ({ path: [...path, key], detail: unknownKey(key, issue.message), isKey: true }));
      case 'invalid_key':
        return problemsOf(issue.issues, shown).map(({ detail }) => ({ path, detail, isKey: true }));
      case 'too_small':
        return Array.isArray(issue.input) ? problem('must not be empty') : [];
      case 'too_big':
        if (!Array.isArray(issue.input)) return [];
        return problem(`expected at most ${issue.maximum} entries, got ${issue.input.length}`);
      case 'invalid_union': {
        const [meant] = issue.errors
          .filter((errors) => !errors.some(isOfAnotherForm))
          .sort((a, b) => distanceOf(a) - distanceOf(b));
        if (meant === undefined) return problem(expected(issue, shown));
        return problemsOf(
          meant.map((inner) => ({ ...inner, path: [...path, ...inner.path] })),
          shown,
        );
      }
      default:
        return problem(expected(issue, shown));
    }
  });
}

function expected(issue: Issue, shown: (issue: Issue) => string): string {
  if (issue.input === undefined) return `is missing; it must be ${issue.message}`;
  return `must be ${issue.message}, not ${shown(issue)}`;
}

/** Whether an alternative of a union expects a value of another form, so that its problems are not reported. */
function isOfAnotherForm({ code, path }: Issue): boolean {
  return path.length === 0 && (code === 'invalid_type' || code === 'invalid_value');
}

/** The number of settings that are wrong for an alternative of a union; the one with the fewest is probably meant. */
function distanceOf(issues: readonly Issue[]): number {
  return issues.reduce((sum, issue) => sum + (issue.code === 'unrecognized_keys' ? issue.keys.length : 1), 0);
}

function unknownKey(key: string, known: string): string {
  const meant = closest(key, known.split(', '));
  return `unknown setting ${show(key)}${meant === undefined ? ` (available: ${known})` : `; did you mean ${meant}?`}`;
}

/** A path as a message shows it: `mirrors[2].tags` and `registries["docker.io"].connections`. */
export function formatPath(path: Path): string {
  return path
    .map((key, index) => {
      if (typeof key === 'number') return `[${key}]`;
      const name = String(key);
      if (name.includes('.')) return `[${show(name)}]`;
      return `${index === 0 ? '' : '.'}${showKey(name)}`;
    })
    .join('');
}
