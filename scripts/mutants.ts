/**
 * Draws mutations of the code from a seed, runs the related tests for each, and lists those that no test detects:
 *
 *     node scripts/mutants.ts --seed 7 --count 60 [--workers 2] [--list]
 *
 * Every worker has a copy of the checkout in a temporary folder. A test run that fails, or hangs, detects the mutation.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import ts from 'typescript';

interface Mutant {
  readonly file: string;
  readonly line: number;
  readonly kind: string;
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

const ROOT = join(import.meta.dirname, '..');
const SOURCES = ['lib', 'functions', 'infra'];
/** Fast tests first: only a mutation that they let through meets the slow ones. */
const STAGES = [
  ['test/unit', 'test/contract'],
  ['test/e2e', 'test/faults', 'test/fuzz'],
];
const STAGE_MS = 300_000;
const COPIED = [
  'lib',
  'functions',
  'infra',
  'test',
  'scripts',
  'docs',
  'bench',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
];
const COPIED_TOO = [
  'vitest.config.ts',
  'serverless.yml',
  'mirror.schema.json',
  'eslint.config.js',
  'README.md',
  'CHANGELOG.md',
  'LICENSE',
];

const SWAPS = new Map<ts.SyntaxKind, string>([
  [ts.SyntaxKind.LessThanToken, '<='],
  [ts.SyntaxKind.LessThanEqualsToken, '<'],
  [ts.SyntaxKind.GreaterThanToken, '>='],
  [ts.SyntaxKind.GreaterThanEqualsToken, '>'],
  [ts.SyntaxKind.EqualsEqualsEqualsToken, '!=='],
  [ts.SyntaxKind.ExclamationEqualsEqualsToken, '==='],
  [ts.SyntaxKind.AmpersandAmpersandToken, '||'],
  [ts.SyntaxKind.BarBarToken, '&&'],
  [ts.SyntaxKind.PlusToken, '-'],
  [ts.SyntaxKind.MinusToken, '+'],
]);

function* mutantsOf(file: string, text: string): Generator<Mutant> {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const found: Mutant[] = [];
  const add = (node: ts.Node, kind: string, replacement: string): void => {
    const start = node.getStart(source);
    const line = source.getLineAndCharacterOfPosition(start).line + 1;
    found.push({ file, line, kind, start, end: node.getEnd(), text: replacement });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isTypeNode(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) return;
    if (ts.isImportDeclaration(node)) return;
    if (ts.isIfStatement(node)) {
      add(node.expression, 'condition never holds', 'false');
      add(node.expression, 'condition always holds', 'true');
    } else if (ts.isConditionalExpression(node))
      add(node.condition, 'condition inverted', `!(${node.condition.getText(source)})`);
    else if (ts.isBinaryExpression(node)) {
      const swap = SWAPS.get(node.operatorToken.kind);
      const texts = node.operatorToken.kind === ts.SyntaxKind.PlusToken && /['"`]/.test(node.getText(source));
      if (swap !== undefined && !texts) add(node.operatorToken, 'operator', swap);
    } else if (ts.isExpressionStatement(node) && !/^\s*(void )?[\w.]*log/.test(node.getText(source)))
      add(node, 'statement dropped', ';');
    else if (ts.isThrowStatement(node)) add(node, 'not refused', ';');
    else if (ts.isPropertyAssignment(node) || ts.isShorthandPropertyAssignment(node) || ts.isSpreadAssignment(node))
      add(node, 'property dropped', '...{}');
    else if (ts.isNumericLiteral(node) && node.text !== '0') add(node, 'number', String(Number(node.text) * 2 + 1));
    ts.forEachChild(node, visit);
  };
  visit(source);
  yield* found;
}

/** A value of a template: a number, a word or a key that goes. */
function* mutantsOfYaml(file: string, text: string): Generator<Mutant> {
  let start = 0;
  for (const [index, line] of text.split('\n').entries()) {
    const end = start + line.length;
    const [, before = '', value = ''] = /^(\s*(?:- )?[\w.:'"-]+: )([^#{}[\]|>&*!\s][^#]*)$/.exec(line) ?? [];
    if (value !== '' && !/Description|Name:/.test(before)) {
      const changed = /^\d+$/.test(value) ? String(Number(value) * 2 + 1) : `x${value}`;
      const at = start + before.length;
      yield { file, line: index + 1, kind: 'template value', start: at, end, text: changed };
      yield { file, line: index + 1, kind: 'template line dropped', start, end, text: '' };
    }
    start = end + 1;
  }
}

async function allMutants(): Promise<Mutant[]> {
  const all: Mutant[] = [];
  for (const folder of SOURCES)
    for (const entry of await readdir(join(ROOT, folder), { recursive: true, withFileTypes: true })) {
      const file = relative(ROOT, join(entry.parentPath, entry.name));
      if (!entry.isFile() || !/\.(ts|js|yml)$/.test(file)) continue;
      const text = await readFile(join(ROOT, file), 'utf8');
      all.push(...(file.endsWith('.yml') ? mutantsOfYaml(file, text) : mutantsOf(file, text)));
    }
  return all;
}

/** A linear congruential generator (Numerical Recipes): the same numbers for a seed on every machine. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => (state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32) / 2 ** 32;
}

/** Draws a file first, so that long files do not dominate. */
function draw(mutants: readonly Mutant[], count: number, seed: number): Mutant[] {
  const random = randomFrom(seed);
  const files = [...Map.groupBy(mutants, ({ file }) => file).values()];
  const drawn = new Set<Mutant>();
  while (drawn.size < Math.min(count, mutants.length)) {
    const file = files[Math.floor(random() * files.length)] ?? [];
    const mutant = file[Math.floor(random() * file.length)];
    if (mutant !== undefined) drawn.add(mutant);
  }
  return [...drawn];
}

async function copyOfCheckout(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'mutants-'));
  for (const name of [...COPIED, ...COPIED_TOO]) await cp(join(ROOT, name), join(folder, name), { recursive: true });
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

/** Whether a test notices the mutation, and in which stage. */
async function detectedBy(mutant: Mutant, folder: string): Promise<string | undefined> {
  const path = join(folder, mutant.file);
  const text = await readFile(path, 'utf8');
  await writeFile(path, text.slice(0, mutant.start) + mutant.text + text.slice(mutant.end));
  try {
    const isCode = mutant.file.endsWith('.ts');
    // The tests on AWS's terms run the functions as bundles, which no import of a test shows.
    const bundled = mutant.file.startsWith('functions/') ? [['test/e2e/aws']] : [];
    for (const tests of isCode ? [...STAGES, ...bundled] : [['test/unit/infra', 'test/e2e/aws']]) {
      const excluded = STAGES.flat()
        .filter((each) => !tests.includes(each))
        .flatMap((each) => ['--exclude', `${each}/**`]);
      const isRelated = isCode && !bundled.includes(tests);
      const chosen = isRelated ? ['related', mutant.file, ...excluded] : ['run', ...tests];
      const code = await run(['vitest', ...chosen, '--run', '--bail=1', '--reporter=dot', '--passWithNoTests'], folder);
      if (code !== 0) return `${tests.join(', ')}${code === undefined ? ' (hangs)' : ''}`;
    }
    return undefined;
  } finally {
    await writeFile(path, text);
  }
}

/** The exit code, or undefined where the run took too long. */
async function run(args: readonly string[], cwd: string): Promise<number | undefined> {
  const env = { ...process.env, MIRROR_SYNC_FUZZ_CASES: '500' };
  const child = spawn(join(ROOT, 'node_modules/.bin', args[0] ?? ''), args.slice(1), {
    cwd,
    env,
    stdio: 'ignore',
    detached: true,
  });
  const timer = setTimeout(() => {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  }, STAGE_MS);
  const [code] = (await once(child, 'exit')) as [number | null];
  clearTimeout(timer);
  return code ?? undefined;
}

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    count: { type: 'string', default: '60' },
    workers: { type: 'string', default: '2' },
    list: { type: 'boolean', default: false },
  },
});
const drawn = draw(await allMutants(), Number(values.count), Number(values.seed));
const nameOf = ({ file, line, kind, text }: Mutant): string =>
  `${file}:${line}: ${kind}${text.length < 40 ? ` → ${text}` : ''}`;
if (values.list) for (const mutant of drawn) console.log(nameOf(mutant));
else {
  const queue = [...drawn];
  const survivors: Mutant[] = [];
  const work = async (): Promise<void> => {
    const folder = await copyOfCheckout();
    for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
      const by = await detectedBy(mutant, folder);
      if (by === undefined) survivors.push(mutant);
      console.log(
        `${by === undefined ? 'SURVIVED' : 'detected'}  ${nameOf(mutant)}${by === undefined ? '' : `  (${by})`}`,
      );
    }
    await rm(folder, { recursive: true });
  };
  await Promise.all(Array.from({ length: Number(values.workers) }, work));
  const score = ((drawn.length - survivors.length) * 100) / drawn.length;
  console.log(
    `\n${drawn.length - survivors.length} of ${drawn.length} detected (${score.toFixed(1)} %), seed ${values.seed}`,
  );
}
