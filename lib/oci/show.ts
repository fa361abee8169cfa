import { withoutSentSecrets } from '../core/redact.ts';
import { withoutSecrets, withoutUrlSecrets } from '../core/secrets.ts';

/** The characters of a value that an error message repeats. */
const SHOWN = 100;

/** The characters of another program's text that an error message repeats. */
const QUOTED = 200;

/** The characters of a key that an error message repeats; a key may be as long as its document. */
const SHOWN_KEY = 100;

/** Most texts contain only these characters, which is quick to test. */
const ASCII = /^[ -~]*$/;

/**
 * Control and format characters, and the separators of lines and paragraphs, which a terminal or a log viewer
 * interprets.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** A value for an error message: on one line, bounded, and without control characters and secrets. */
export function show(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  switch (typeof value) {
    case 'string': {
      const clean = withoutSentSecrets(withoutSecrets(withoutUrlSecrets(value)));
      const text = printable(JSON.stringify(clean.slice(0, SHOWN)));
      return clean.length > SHOWN ? `${text}… (${clean.length} characters)` : text;
    }
    case 'number':
    case 'boolean':
      return String(value);
    case 'object':
      return 'an object';
    default:
      return `of type ${typeof value}`;
  }
}

/**
 * Foreign text in which characters that a terminal or a log viewer interprets are escaped as in JSON, so printable JSON
 * stays the same. Line ends are escaped too.
 */
export function printable(text: string): string {
  if (ASCII.test(text)) return text;
  return text.replace(UNPRINTABLE, (character) => {
    const units = Array.from({ length: character.length }, (_, index) => character.charCodeAt(index));
    return units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('');
  });
}

/** A key within a path. */
export function showKey(key: string): string {
  const clean = withoutSentSecrets(withoutSecrets(key));
  return printable(clean.length > SHOWN_KEY ? `${clean.slice(0, SHOWN_KEY)}…` : clean);
}

/** Another program's text within a message: on one line, bounded, and printable. */
export function quote(foreign: string): string {
  const line = printable(
    withoutUrlSecrets(foreign)
      .slice(0, 4 * QUOTED)
      .replace(/\s+/g, ' ')
      .trim(),
  );
  return line.length > QUOTED ? `${line.slice(0, QUOTED)}…` : line;
}
