/**
 * Draws mutations of the code from a seed, runs the related tests for each, and lists those that no test detects:
 *
 *     node scripts/mutants.ts --seed 7 --count 60 [--workers 2] [--within lib/oci/] [--direct] [--list]
 *
 * Every worker has a copy of the checkout in a temporary folder. A test detects a mutation if it passes without the
 * mutation, and fails or hangs with it. `--within` draws from the files whose path starts with it; `--direct` runs only
 * the tests that import the file themselves.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { cp, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import ts from 'typescript';

interface Mutant {
  readonly file: string;
  readonly line: number;
  readonly kind: string;
  readonly start: number;
  readonly end: number;
  readonly text: string;
  /** The replaced text. */
  readonly was: string;
}

const ROOT = join(import.meta.dirname, '..');
const SOURCES = ['lib', 'functions', 'infra'];
/** The fast tests run first; the slow tests run only for the mutations that pass them. */
const FAST = ['test/unit', 'test/contract'];
const SLOW = ['test/e2e', 'test/faults', 'test/fuzz'];
const ON_AWS = 'test/e2e/aws';
/** Tests that start the code as a process or a bundle, without an import. */
const STARTED = [
  ['lib/cli/', 'test/e2e/command-line', 'test/e2e/interrupt', 'test/e2e/archives', 'test/e2e/kinds'],
  ['functions/', ON_AWS],
] as const;
/** Far above the time of the slow tests; a longer stage hangs. */
const STAGE_MS = 1_200_000;

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
    found.push({ file, line, kind, start, end: node.getEnd(), text: replacement, was: node.getText(source) });
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

/** Changes or removes a value or a key of a template. */
function* mutantsOfYaml(file: string, text: string): Generator<Mutant> {
  let start = 0;
  for (const [index, line] of text.split('\n').entries()) {
    const end = start + line.length;
    const [, before = '', value = ''] = /^(\s*(?:- )?[\w.:'"-]+: )([^#{}[\]|>&*!\s][^#]*)$/.exec(line) ?? [];
    if (value !== '' && !/Description|Name:/.test(before)) {
      const changed = /^\d+$/.test(value) ? String(Number(value) * 2 + 1) : `x${value}`;
      const at = start + before.length;
      yield { file, line: index + 1, kind: 'template value', start: at, end, text: changed, was: value };
      yield { file, line: index + 1, kind: 'template line dropped', start, end, text: '', was: line.trim() };
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
  const { stdout } = await promisify(execFile)('git', ['ls-files', '-z'], { cwd: ROOT });
  for (const name of stdout.split('\0').filter((path) => path !== '')) await cp(join(ROOT, name), join(folder, name));
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

/** The arguments of one run of Vitest. */
type Stage = readonly string[];

/** Test files that import the file directly, or in a child process. */
async function directTests(file: string): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(join(ROOT, 'test'), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !/\.(?:test|child)\.ts$/.test(entry.name)) continue;
    const path = relative(ROOT, join(entry.parentPath, entry.name));
    const tests = path.replace(/child\.ts$/, 'test.ts');
    if (SLOW.some((each) => path.startsWith(each)) || !existsSync(join(ROOT, tests))) continue;
    const text = await readFile(join(ROOT, path), 'utf8');
    const imports = [...text.matchAll(/(?:from|import\() ?'(\.[^']+)'/g)].map(([, name = '']) => name);
    if (imports.some((name) => join(dirname(path), name) === file)) found.push(tests);
  }
  return [...new Set(found)];
}

/** Each stage runs only for the mutations that pass the previous one. */
interface Stages {
  readonly direct: readonly Stage[];
  /** Tests in the folder with the same name that import it indirectly. */
  readonly near: readonly Stage[];
  readonly fast: readonly Stage[];
  readonly slow: readonly Stage[];
}

async function stagesFor(file: string): Promise<Stages> {
  if (!file.endsWith('.ts'))
    return { direct: [['run', 'test/unit/infra']], near: [], fast: [], slow: [['run', ON_AWS]] };
  const imported = await directTests(file);
  const near = join('test/unit', file.startsWith('lib/') ? (file.split('/')[1] ?? '') : 'functions');
  const others = (await readdir(join(ROOT, 'test/unit'))).map((name) => join('test/unit', name));
  const without = (...folders: readonly string[]): string[] =>
    folders.flatMap((folder) => ['--exclude', folder.endsWith('.ts') ? folder : `${folder}/**`]);
  const started = STARTED.filter(([folder]) => file.startsWith(folder)).map(([, ...tests]) => ['run', ...tests]);
  return {
    direct: imported.length === 0 ? [] : [['run', ...imported]],
    near: [
      ['related', file, ...without(...SLOW, ...imported, 'test/contract', ...others.filter((each) => each !== near))],
    ],
    fast: [['related', file, ...without(...SLOW, ...imported, near)]],
    slow: [
      ...started,
      ['related', file, ...without(...FAST, ON_AWS)],
      ['related', file, ...without(...FAST, 'test/e2e/*.test.ts', 'test/faults', 'test/fuzz')],
    ],
  };
}

interface Outcome {
  readonly isDetected: boolean;
  readonly note: string;
}

/** Test files that pass without a mutation. */
const sound = new Set<string>();

/** Runs the stages until a test fails with the mutation. A test that also fails without it does not count. */
async function outcomeOf(mutant: Mutant, folder: string, stages: readonly Stage[]): Promise<Outcome> {
  const path = join(folder, mutant.file);
  const text = await readFile(path, 'utf8');
  const mutated = text.slice(0, mutant.start) + mutant.text + text.slice(mutant.end);
  const unsound: string[] = [];
  for (const stage of stages)
    for (let result: RunResult | undefined; result !== 'passed';) {
      await writeFile(path, mutated);
      result = await run([...stage, ...unsound.flatMap((file) => ['--exclude', file])], folder);
      await writeFile(path, text);
      if (result === 'hangs') return { isDetected: true, note: `hangs: ${stage.join(' ')}` };
      if (result === 'passed') continue;
      const { file, title } = result;
      if (
        (file !== undefined && sound.has(file)) ||
        (await run(file === undefined ? stage : ['run', file], folder)) === 'passed'
      ) {
        if (file !== undefined) sound.add(file);
        return { isDetected: true, note: `${file ?? stage.join(' ')}: ${title}` };
      }
      if (file === undefined) throw new Error(`${stage.join(' ')}: ${title}, without the mutation too`);
      unsound.push(file);
    }
  return { isDetected: false, note: unsound.length === 0 ? '' : `fails without it too: ${unsound.join(', ')}` };
}

interface FirstFailure {
  /** Undefined if vitest failed outside of a test. */
  readonly file?: string;
  readonly title: string;
}

interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

type RunResult = 'passed' | 'hangs' | FirstFailure;

async function run(stage: Stage, cwd: string): Promise<RunResult> {
  const env = { ...process.env, MIRROR_SYNC_FUZZ_CASES: '500' };
  const output = join(cwd, 'report.json');
  await rm(output, { force: true });
  const always = ['--run', '--bail=1', '--passWithNoTests', '--reporter=json', `--outputFile=${output}`];
  const child = spawn(join(ROOT, 'node_modules/.bin/vitest'), [...stage, ...always], {
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
  if (code === null) return 'hangs';
  if (code === 0) return 'passed';
  const { testResults } = JSON.parse(await readFile(output, 'utf8')) as Report;
  // With --bail, files whose tests did not run are reported as failed too.
  for (const { name, assertionResults } of testResults)
    for (const { status, fullName } of assertionResults)
      if (status === 'failed') return { file: relative(cwd, name), title: fullName };
  const broken = testResults.find(({ status, message }) => status === 'failed' && message !== '');
  if (broken === undefined) return { title: `exit code ${code} without a failed test` };
  return { file: relative(cwd, broken.name), title: broken.message.slice(0, 100) };
}

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    count: { type: 'string', default: '60' },
    workers: { type: 'string', default: '2' },
    within: { type: 'string', default: '' },
    direct: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
});
const eligible = (await allMutants()).filter(({ file }) => file.startsWith(values.within));
const drawn = draw(eligible, Number(values.count), Number(values.seed));
const short = (text: string): string => (text.length < 60 ? text : `${text.slice(0, 59)}…`).replaceAll(/\s+/g, ' ');
const nameOf = ({ file, line, kind, text, was }: Mutant): string =>
  `${file}:${line}: ${kind}: ${short(was)} → ${short(text)}`;
if (values.list) for (const mutant of drawn) console.log(nameOf(mutant));
else {
  const speeds: readonly (keyof Stages)[] = values.direct ? ['direct'] : ['direct', 'near', 'fast', 'slow'];
  const last = speeds.at(-1);
  const folders = await Promise.all(Array.from({ length: Number(values.workers) }, copyOfCheckout));
  /** The mutations that pass these tests. */
  const undetected = async (mutants: readonly Mutant[], speed: keyof Stages): Promise<Mutant[]> => {
    const queue = [...mutants];
    const passed: Mutant[] = [];
    const work = async (folder: string): Promise<void> => {
      for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
        const stages = await stagesFor(mutant.file);
        const { isDetected, note } = await outcomeOf(mutant, folder, stages[speed]);
        if (!isDetected) passed.push(mutant);
        const result = isDetected ? 'detected' : speed === last ? 'SURVIVED' : `passed the ${speed} tests`;
        console.log(`${result}  ${nameOf(mutant)}${note === '' ? '' : `  (${note})`}`);
      }
    };
    await Promise.all(folders.map(work));
    return passed;
  };
  let survivors: readonly Mutant[] = drawn;
  for (const speed of speeds) survivors = await undetected(survivors, speed);
  for (const folder of folders) await rm(folder, { recursive: true });
  const score = ((drawn.length - survivors.length) * 100) / drawn.length;
  console.log(
    `\n${drawn.length - survivors.length} of ${drawn.length} detected (${score.toFixed(1)} %), seed ${values.seed}`,
  );
}
