/** Texts that a parser of untrusted input has to survive: valid ones with a few hostile edits, and noise. */
import fc from 'fast-check';

/** Fragments that have broken parsers: nesting, numbers, keys of every object, controls, directions, folding letters. */
const NASTY = [
  ...['', '0', '-1', '1e999', '9007199254740993', '00', '99999999999999999999', 'null', 'true', '{}', '[]', '""'],
  ...['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'length', '{"a":1,"a":2}', '\\u0000', '\\ud800'],
  ...[
    '\u0000',
    '\u001b[2J',
    '\u0085',
    '\u202e',
    '\u2066',
    '\u2028',
    '\u017f',
    '\u212a',
    '\ufeff',
    '\ud800',
    '\u{1f600}',
  ],
  ...[
    '\r\n',
    '\n\n',
    '\t',
    ' ',
    '"',
    "'",
    '`',
    '\\',
    '/',
    '//',
    '..',
    '../',
    '%2e%2e',
    '%00',
    '@',
    ':',
    ';',
    ',',
    '=',
    '<',
    '>',
  ],
  ...[
    'sha256:',
    'sha512:',
    'bytes ',
    'bytes=0-',
    '*',
    'Bearer ',
    'Basic ',
    'realm="',
    'rel=next',
    'http://',
    'https://[::1]/',
  ],
  ...['169.254.169.254', '[::ffff:169.254.169.254]', 'localhost', 's3://', '&a', '*a', '<<: *a', '!!js', '- - -', '? '],
  ...['['.repeat(200), '{"a":'.repeat(200), 'a'.repeat(5_000), ':'.repeat(5_000), ' '.repeat(5_000), '0'.repeat(400)],
] as const;

const fragments = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...NASTY) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 12 }) },
);

const edit = fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true }), length: fc.nat(12), text: fragments });

/** One of `samples` after up to four edits, or noise. */
export function hostileTexts(samples: readonly string[]): fc.Arbitrary<string> {
  const edited = fc
    .tuple(fc.constantFrom(...samples), fc.array(edit, { maxLength: 4 }))
    .map(([sample, edits]) => edits.reduce(applied, sample));
  const noise = fc.array(fragments, { maxLength: 8 }).map((parts) => parts.join(''));
  return fc.oneof({ weight: 6, arbitrary: edited }, { weight: 1, arbitrary: noise });
}

function applied(text: string, { at, length, text: inserted }: { at: number; length: number; text: string }): string {
  const from = Math.floor(at * text.length);
  return text.slice(0, from) + inserted + text.slice(from + length);
}
