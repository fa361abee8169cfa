/** As much of a text as an error message should repeat, in characters. */
const SHOWN = 100;

/** C0 and C1 controls, DEL, line separators, and the marks that reorder text: nothing a terminal or a log should get. */

const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g;

/** A value as an error message shows it: on one line, never long, and without anything that a terminal would obey. */
export function show(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  switch (typeof value) {
    case 'string': {
      const text = printable(JSON.stringify(value.slice(0, SHOWN)));
      return value.length > SHOWN ? `${text}… (${value.length} characters)` : text;
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

export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
