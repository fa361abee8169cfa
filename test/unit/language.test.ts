import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');

const REFUSED: readonly RegExp[] = [
  /\banew\b/i,
  /\bwhoever\b/i,
  /\bwhom\b/i,
  /\bnobody\b/i,
  /\bbesides\b/i,
  /\bmend(?:s|ed|ing)?\b/i,
  /\brot(?:s|ted|ten)?\b/i,
  /\bin place of\b/i,
  /(?<!\b[Tt]here )\b(?:is|are|was|were) no (?!longer\b|more\b|less\b|fewer\b|later\b|\w+er than\b)\w/i,
  /\b(?:is|are|was|were|be|been|not|unless|otherwise|told|and|or) told\b/i,
  /\bwho (?:waits?|dies|died|has|asks|comes|fits|was|continues|looks)\b/i,
  // The start of a sentence, where it is not a question.
  /(?:^\s*(?:\/\/|\/?\*\*?|#|-|\|)?\s*|[.!?] |(?:test|it)\(\s*['"`])(?:[Ww]hat|[Ww]ho|[Ww]hose|Nobody)(?= [a-z])(?![^.]*\?)/,
];

/** Each refused phrase with its line. */
function refusedIn(text: string): string[] {
  return text.split('\n').flatMap((line, at) =>
    REFUSED.flatMap((phrase) => {
      const found = phrase.exec(line);
      return found === null ? [] : [`${at + 1}: ${found[0].trim()}`];
    }),
  );
}

function files(): string[] {
  const patterns = [
    '*.md',
    'docs/**/*.md',
    '{lib,functions,infra,scripts,bench,examples}/**/*.{ts,js,yml,md}',
    'test/**/*.ts',
    '*.yml',
  ];
  return globSync(patterns, { cwd: ROOT })
    .filter((file) => !/language\.test\.ts|docs\/style\.md|node_modules/.test(file))
    .sort();
}
/** The titles of all tests in a file, each after the titles of its enclosing `describe` blocks. */
function titlesIn(file: string): string[] {
  const source = ts.createSourceFile(file, readFileSync(join(ROOT, file), 'utf8'), ts.ScriptTarget.Latest, true);
  const titles: string[] = [];
  const visit = (node: ts.Node, outer: string): void => {
    let inner = outer;
    const [title] = ts.isCallExpression(node) ? node.arguments : [];
    const kind = /^(describe|test)\b/.exec(node.getText(source))?.[1];
    if (kind !== undefined && title !== undefined && ts.isStringLiteralLike(title)) {
      if (kind === 'describe') inner = `${outer} ${title.text}`;
      else titles.push(`${outer} ${title.text}`.trim());
    }
    node.forEachChild((child) => {
      visit(child, inner);
    });
  };
  visit(source, '');
  return titles;
}

/** An auxiliary verb, or a word that may be a verb in the third person. A title without either is a fragment. */
const VERB = /\b(?:is|are|was|has|have|can|cannot|may|must|does|do|agree|cost|fail|return|treat|[a-z]{2,}[^\Wsui]s)\b/;

function isFragment(title: string): boolean {
  return title.split(' ').length < 3 || !VERB.test(title);
}

describe('the language of the project', () => {
  const found = new Map(files().map((file) => [file, refusedIn(readFileSync(join(ROOT, file), 'utf8'))]));

  test('no file contains a refused phrase', () => {
    expect([...found].flatMap(([file, phrases]) => phrases.map((phrase) => `${file}:${phrase}`))).toEqual([]);
  });

  test.for(['// Nobody waits.', '/** What is left. */', "test('what it does', () => {", 'The folder is no archive.'])(
    'refuses the phrase in %s',
    (line) => {
      expect(refusedIn(line)).not.toEqual([]);
    },
  );

  test.for(['// The window bounds what is in flight.', 'What does it cost?', 'It is no longer there.'])(
    'accepts the phrase in %s',
    (line) => {
      expect(refusedIn(line)).toEqual([]);
    },
  );

  test('each test title is a sentence together with its describe titles', () => {
    const fragments = globSync('test/**/*.ts', { cwd: ROOT }).flatMap((file) =>
      titlesIn(file).flatMap((title) => (isFragment(title) ? [`${file}: ${title}`] : [])),
    );
    expect(fragments).toEqual([]);
  });

  test.for(['wrong things', 'the bucket in another region', 'in ASCII'])(
    'treats the title "%s" as a fragment',
    (title) => {
      expect(isFragment(title)).toBe(true);
    },
  );
});
