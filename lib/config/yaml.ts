import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  parseDocument,
  type ParsedNode,
  type YAMLError,
  type YAMLMap,
} from 'yaml';
import { invalid } from '../core/failure.ts';
import { formatPath, type Path, type Problem } from '../oci/problems.ts';
import { printable, show } from '../oci/show.ts';

/** The maximum number of reported problems; a file with more is not a configuration. */
const MAX_PROBLEMS = 50;

/** The maximum number of problems in memory; the others are only counted. */
const MAX_KEPT = 1_000;

/**
 * The maximum length of a reported problem, because the YAML library and the paths of settings repeat parts of the
 * file.
 */
const MAX_PROBLEM = 400;

/**
 * The maximum number of values that all aliases expand to. Every use of an alias is validated, so a small file could
 * expand to millions of values. Ten thousand mirrors that share a filter of twenty patterns name 400,000.
 */
const MAX_ALIASED = 1_000_000;

type Pair = YAMLMap.Parsed['items'][number];

/** A YAML document as plain values, which collects its problems with their lines and columns. */
export class YamlDocument {
  /** Objects, arrays, and scalars by their text: 3.20 stays 3.20. Only `true` and `false` without quotes are flags. */
  readonly value: unknown;
  readonly #name: string;
  readonly #lines = new LineCounter();
  readonly #root: ParsedNode | null;
  /** The node that each alias refers to. */
  readonly #targets = new Map<Alias, ParsedNode>();
  /** The last node of each anchor so far. */
  readonly #anchors = new Map<string, ParsedNode>();
  readonly #values = new Map<ParsedNode, unknown>();
  /** The pairs of each mapping by their keys. */
  readonly #pairs = new Map<YAMLMap, ReadonlyMap<string, Pair>>();
  /** The numbers of values that nodes with an anchor contain, once these nodes are read. */
  readonly #sizes = new Map<ParsedNode, number>();
  #read = 0;
  #aliased = 0;
  readonly #problems = new Map<string, number>();
  #moreProblems = 0;

  /** @throws {Failure} `invalid`, where the text is not YAML, a key is repeated, or an alias lacks its anchor */
  constructor(text: string, name: string) {
    this.#name = name;
    const { errors, warnings, contents } = parsed(text, name, this.#lines);
    for (const problem of [...errors, ...warnings].slice(0, MAX_PROBLEMS))
      this.#add(problem.pos[0], textOfFault(problem));
    this.throwIfAny();
    this.#root = contents;
    this.value = this.#valueOf(contents);
    this.throwIfAny();
  }

  report({ path, detail, isKey }: Problem): void {
    const { key, value } = this.#at(path);
    this.#add(isKey === true ? key : value, path.length === 0 ? detail : `${formatPath(path)}: ${detail}`);
  }

  /** @throws {Failure} `invalid`, with each problem on a line, in the order of the file */
  throwIfAny(): void {
    const sorted = [...this.#problems].sort(([, a], [, b]) => a - b).map(([problem]) => problem);
    if (sorted.length === 0) return;
    if (sorted.length === 1) throw invalid('read configuration', `1 problem: ${sorted.join('')}`);
    const shown = sorted.slice(0, MAX_PROBLEMS);
    const count = sorted.length + this.#moreProblems;
    if (count > shown.length) shown.push(`and ${count - shown.length} more`);
    const lines = shown.map((problem) => `\n  ${problem}`).join('');
    throw invalid('read configuration', `${count} problems:${lines}`);
  }

  /** The value at a path, for a message. A plain scalar is shown as in the file, since quotes would make a number a text. */
  show(path: Path): string {
    const { node } = this.#at(path);
    if (isMap(node)) return 'a mapping';
    if (isSeq(node)) return 'a list';
    if (isScalar(node) && node.value instanceof Object) return `a value with the tag ${shortTag(node.tag)}`;
    const text = textOf(node);
    if (text === '') return 'nothing';
    // A file without keys is another file, such as a private key.
    if (path.length === 0) return 'a text';
    return isPlain(node) ? show(text).replace(/^"|"(?=…|$)/g, '') : show(text);
  }

  #addRepeated(name: string, { key }: Pair, former: Pair): void {
    const { line } = this.#lines.linePos(former.key.range[0]);
    this.#add(key.range[0], `${show(name)} is also set in line ${line}; remove one of them`);
  }

  #add(offset: number, detail: string): void {
    if (this.#problems.size === MAX_KEPT) {
      this.#moreProblems += 1;
      return;
    }
    const { line, col } = this.#lines.linePos(offset);
    const text = printable(detail.slice(0, MAX_PROBLEM));
    this.#problems.set(`${this.#name}:${line}:${col}: ${text}${detail.length > MAX_PROBLEM ? '…' : ''}`, offset);
  }

  /** The node at a path, or the innermost node on the way to it, with the offsets of its key and of itself. */
  #at(path: Path): { readonly node: ParsedNode | null; readonly key: number; readonly value: number } {
    let node = this.#root;
    let key = 0;
    let value = node?.range[0] ?? 0;
    for (const step of path) {
      const pair = isMap(node) ? this.#pairs.get(node)?.get(String(step)) : undefined;
      if (isMap(node) && pair === undefined) break;
      const inner = isSeq(node) ? (node.items[Number(step)] ?? null) : (pair?.value ?? null);
      key = pair?.key.range[0] ?? value;
      value = inner?.range[0] ?? key;
      node = isAlias(inner) ? (this.#targets.get(inner) ?? null) : inner;
    }
    return { node, key, value };
  }

  #valueOf(node: ParsedNode | null): unknown {
    if (isAlias(node)) return this.#valueOfAlias(node);
    this.#read += 1;
    const before = this.#read;
    if (node?.anchor !== undefined) this.#anchors.set(node.anchor, node);
    const value = isMap(node)
      ? this.#objectOf(node)
      : isSeq(node)
        ? node.items.map((item) => this.#valueOf(item))
        : scalarOf(node);
    if (node?.anchor === undefined) return value;
    this.#values.set(node, value);
    this.#sizes.set(node, this.#read - before + 1);
    return value;
  }

  /** An alias refers to the last node before it that has its anchor (YAML 1.2.2, section 7.1). */
  #valueOfAlias(alias: Alias.Parsed): unknown {
    const offset = alias.range[0];
    const target = this.#anchors.get(alias.source);
    if (target === undefined) {
      const quoted = show(`*${alias.source}`);
      this.#add(
        offset,
        `alias *${alias.source} has no anchor before it; if it is a pattern, write ${quoted} with quotes`,
      );
      return '';
    }
    // A node that contains an alias of itself would expand forever.
    const size = this.#sizes.get(target) ?? Infinity;
    this.#targets.set(alias, target);
    this.#read += size;
    this.#aliased += size;
    if (this.#aliased > MAX_ALIASED) {
      this.#add(offset, `aliases expand to more than ${MAX_ALIASED} values; use fewer aliases`);
      this.throwIfAny();
    }
    return this.#values.get(target);
  }

  /** A mapping has each key once (YAML 1.2.2, section 3.2.1.3). */
  #objectOf(map: YAMLMap.Parsed): object {
    const pairs = new Map<string, Pair>();
    this.#pairs.set(map, pairs);
    const values = new Map<string, unknown>();
    for (const pair of map.items) {
      const name = textOf(pair.key);
      const former = pairs.get(name);
      if (former !== undefined) this.#addRepeated(name, pair, former);
      // zod skips this key.
      if (name === '__proto__') this.#add(pair.key.range[0], `unknown setting ${show(name)}`);
      else values.set(name, this.#valueOf(pair.value));
      pairs.set(name, pair);
    }
    return Object.fromEntries(values);
  }
}

/** Whether a text has more than this number of tokens: words, indicators, spaces and line ends. Each has a character. */
export function hasMoreTokens(text: string, limit: number): boolean {
  if (text.length <= limit) return false;
  let left = limit;
  for (const _ of new Lexer().lex(text)) if ((left -= 1) < 0) return true;
  return false;
}

function parsed(text: string, name: string, lineCounter: LineCounter): Document.Parsed {
  try {
    return parseDocument(text, {
      schema: 'failsafe',
      lineCounter,
      prettyErrors: false,
      // The library compares each key with every key before it: thirty thousand keys take half a minute.
      uniqueKeys: false,
    });
  } catch (error) {
    // The library limits the depth of most nesting, and overflows the stack in the rest.
    if (error instanceof RangeError) throw invalid('read configuration', `${name}: ${TOO_DEEP}`);
    throw error;
  }
}

const TOO_DEEP = 'the values are nested too deeply for a configuration';

/**
 * The library's message, without the part of the file that it repeats, since the file may be another one with a secret. Messages
 * about indicators name the remedy: patterns without quotes cause most of them.
 */
function textOfFault({ code, message }: YAMLError): string {
  switch (code) {
    case 'MULTIPLE_DOCS':
      return 'expected one document, got several; remove this line (---) and the lines after it';
    case 'RESOURCE_EXHAUSTION':
      return TOO_DEEP;
    case 'BAD_ALIAS':
      return 'a value that begins with * is an alias in YAML; put a pattern in quotes, such as "*"';
    case 'MULTILINE_IMPLICIT_KEY':
      return NO_COLON;
    case 'BAD_SCALAR_START':
    case 'BLOCK_AS_IMPLICIT_KEY':
      return `${message}; ${IN_QUOTES}`;
    case 'UNEXPECTED_TOKEN':
      return message.endsWith('at node end') ? `${message}; ${IN_QUOTES}` : message.replace(/: .*/s, '');
    case 'MISSING_CHAR':
      if (message.startsWith('Implicit map keys')) return NO_COLON;
      return message.includes('flow sequence') ? `${message}; ${IN_QUOTES}` : message;
    default:
      return message;
  }
}

const NO_COLON = 'expected a key, a colon and a space, such as version: 1';
const IN_QUOTES = 'put a value with special characters in quotes, such as "[0-9]*"';

/** `!!binary` */
function shortTag(tag: string | undefined): string {
  return printable((tag ?? '').replace(/^tag:yaml\.org,2002:/, '!!'));
}

function isPlain(node: ParsedNode | null): boolean {
  return isScalar(node) && node.type === 'PLAIN';
}

/** The text of a scalar; empty for other nodes. */
function textOf(node: ParsedNode | null): string {
  return isScalar(node) && typeof node.value === 'string' ? node.value : '';
}

function scalarOf(node: ParsedNode | null): string | boolean {
  const text = textOf(node);
  return isPlain(node) && (text === 'true' || text === 'false') ? text === 'true' : text;
}
