import {
  type Alias,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  Scalar,
  visit,
} from 'yaml';
import { invalid } from '../core/failure.ts';
import { printable, show } from '../oci/show.ts';

/** Problems that are told; a file that has more is another kind of file. */
const MAX_PROBLEMS = 50;

/** What is wrong with a document, each problem with its line and column. */
/** Characters of one problem that are shown: the YAML library and the paths of settings repeat what the file says. */
const MAX_PROBLEM = 400;

class Problems {
  readonly #name: string;
  readonly #lines: LineCounter;
  readonly #all = new Map<string, number>();

  constructor(name: string, lines: LineCounter) {
    this.#name = name;
    this.#lines = lines;
  }

  add(offset: number, detail: string): void {
    const { line, col } = this.#lines.linePos(offset);
    // An alias is read wherever it stands, and is wrong in one place.
    const text = printable(detail.slice(0, MAX_PROBLEM));
    this.#all.set(`${this.#name}:${line}:${col}: ${text}${detail.length > MAX_PROBLEM ? '…' : ''}`, offset);
  }

  /** @throws {Failure} `invalid`, a line a problem, in the order of the file */
  throwIfAny(): void {
    const sorted = [...this.#all].sort(([, a], [, b]) => a - b).map(([problem]) => problem);
    if (sorted.length === 0) return;
    const told = sorted.slice(0, MAX_PROBLEMS);
    if (sorted.length > told.length) told.push(`and ${sorted.length - told.length} more`);
    const lines = sorted.length === 1 ? ` ${told.join('')}` : told.map((problem) => `\n  ${problem}`).join('');
    throw invalid('read configuration', `${sorted.length === 1 ? '1 problem:' : `${sorted.length} problems:`}${lines}`);
  }
}

/**
 * Values that are read through aliases, in all. An alias is read again wherever it stands, so a small file could name
 * millions of values; ten thousand mirrors that share a filter of twenty patterns read 400,000.
 */
const MAX_ALIASED = 1_000_000;

/** What all nodes of one document share. */
interface Root {
  /** What each alias stands for. */
  readonly targets: ReadonlyMap<Alias, Node>;
  readonly problems: Problems;
  /** Values that were read through aliases so far. */
  aliased: number;
}

/** A place in a YAML document that knows its path and position; what is wrong there is collected and not thrown. */
export class ConfigNode {
  readonly path: string;
  readonly #node: Node | null;
  readonly #offset: number;
  readonly #root: Root;
  /** Whether it is an alias, or lies within what an alias stands for. */
  readonly #isAliased: boolean;

  private constructor(node: Node | null, path: string, offset: number, root: Root, within: boolean) {
    this.path = path;
    this.#root = root;
    this.#offset = node?.range?.[0] ?? offset;
    this.#node = isAlias(node) ? (root.targets.get(node) ?? null) : node;
    this.#isAliased = within || isAlias(node);
    if (this.#isAliased) this.#count();
    if (isAlias(node) && this.#node === null) this.problem(`there is no anchor &${node.source} before it`);
  }

  /**
   * Reads a document with `work`, and throws all that it, or the YAML parser, has found wrong.
   *
   * Every scalar is its text (YAML's failsafe schema): the tag 3.20 stays 3.20, and `no` is a word.
   */
  static read<T>(text: string, name: string, work: (root: ConfigNode) => T | undefined): T {
    const lines = new LineCounter();
    const document = parseDocument(text, {
      schema: 'failsafe',
      lineCounter: lines,
      prettyErrors: false,
      // The library compares each key with every key before it: thirty thousand keys take half a minute.
      uniqueKeys: false,
    });
    const problems = new Problems(name, lines);
    const complaints = [...document.errors, ...document.warnings];
    for (const { message, pos } of complaints.slice(0, MAX_PROBLEMS)) problems.add(pos[0], message);
    problems.throwIfAny();
    refuseRepeatedKeys(document.contents, problems);
    problems.throwIfAny();
    const shared: Root = { targets: targetsOf(document.contents), problems, aliased: 0 };
    const root = new ConfigNode(document.contents, '', 0, shared, false);
    const value = work(root);
    problems.throwIfAny();
    if (value === undefined) throw new Error(`${name} was not read, and nobody says why`);
    return value;
  }

  #count(): void {
    this.#root.aliased += 1;
    if (this.#root.aliased <= MAX_ALIASED) return;
    this.problem(`aliases stand for more than ${MAX_ALIASED} values in all; write out fewer of them`);
    this.#root.problems.throwIfAny();
  }

  problem(detail: string): void {
    this.#root.problems.add(this.#offset, this.path === '' ? detail : `${this.path}: ${detail}`);
  }

  get kind(): 'map' | 'list' | 'text' {
    if (isMap(this.#node)) return 'map';
    return isSeq(this.#node) ? 'list' : 'text';
  }

  /** The scalar's text; empty where there is none. */
  get text(): string {
    const value = isScalar(this.#node) ? this.#node.value : '';
    return typeof value === 'string' ? value : '';
  }

  /** Whether the scalar is without quotes: `8` is a number then, and `true` is not a word. */
  get isPlain(): boolean {
    return isScalar(this.#node) && this.#node.type === Scalar.PLAIN;
  }

  /** The values of a mapping by their keys. A node for each key stands where the key does. */
  entries(): readonly { readonly key: ConfigNode; readonly name: string; readonly value: ConfigNode }[] {
    if (!isMap(this.#node)) return [];
    return this.#node.items.map((item) => {
      const { key, value } = item as Pair<Node, Node | null>;
      const name = isScalar(key) && typeof key.value === 'string' ? key.value : '';
      const path = this.path === '' ? named(name) : `${this.path}${name.includes('.') ? '' : '.'}${named(name)}`;
      const offset = key.range?.[0] ?? this.#offset;
      return {
        key: new ConfigNode(key, path, offset, this.#root, this.#isAliased),
        name,
        value: new ConfigNode(value, path, offset, this.#root, this.#isAliased),
      };
    });
  }

  items(): readonly ConfigNode[] {
    if (!isSeq(this.#node)) return [];
    return this.#node.items.map(
      (item, index) =>
        new ConfigNode(item as Node | null, `${this.path}[${index}]`, this.#offset, this.#root, this.#isAliased),
    );
  }

  /** What is there, for an error. */
  describe(): string {
    if (this.kind === 'map') return 'a mapping';
    if (this.kind === 'list') return 'a list';
    if (this.text === '') return 'nothing';
    // As it stands in the file: quotes would make a number look like a text.
    return this.isPlain ? show(this.text).replace(/^"|"(?=…|$)/g, '') : show(this.text);
  }
}

/** A host in a path, as in `registries["docker.io"].connections`. */
function named(key: string): string {
  return key.includes('.') ? `[${show(key)}]` : key;
}

/** A mapping has each key once (YAML 1.2.2, section 3.2.1.3). */
function refuseRepeatedKeys(contents: Node | null, problems: Problems): void {
  visit(contents, {
    Map: (_, { items }) => {
      const seen = new Set<unknown>();
      for (const { key } of items) {
        if (!isScalar(key)) continue;
        if (seen.has(key.value)) problems.add(key.range?.[0] ?? 0, 'Map keys must be unique');
        seen.add(key.value);
      }
    },
  });
}

/** An alias stands for the last node before it that has its anchor (YAML 1.2.2, section 7.1). */
function targetsOf(contents: Node | null): ReadonlyMap<Alias, Node> {
  const anchors = new Map<string, Node>();
  const targets = new Map<Alias, Node>();
  visit(contents, {
    Node: (_, node) => {
      if (isAlias(node)) {
        const target = anchors.get(node.source);
        if (target !== undefined) targets.set(node, target);
      } else if (node.anchor !== undefined) anchors.set(node.anchor, node);
    },
  });
  return targets;
}
