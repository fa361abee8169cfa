/**
 * Fails on unused exports, files and dependencies. A type in the signature of an export counts as used, and so does a file
 * that a string names (`join(import.meta.dirname, 'child.ts')`).
 */
import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';

const ROOT = join(import.meta.dirname, '..');

/** Files that are started and not imported. */
const ENTRIES = [
  'lib/cli/main.ts',
  'lib/cli/launch.ts',
  'lib/index.ts',
  'functions/*.ts',
  'scripts/*.ts',
  'bench/*.ts',
  'test/**/*.test.ts',
  'test/container/run.ts',
  'test/deployment/run.ts',
  'test/package/run.ts',
  'test/simulation/main.ts',
  'test/simulation/mutations.ts',
  '*.config.ts',
];

/** Dependencies that are executed, or that other packages need, without an import. */
const RUN_ONLY = new Set([
  '@types/node',
  'eslint',
  'typescript-eslint',
  'prettier',
  'cspell',
  'node-runtime',
  'serverless',
  'aws-lambda-ric',
]);

interface Use {
  /** Relative path, or a package's name. */
  readonly from: string;
  /** `*` for a namespace import. */
  readonly name: string;
}

const files = globSync(['{lib,functions,scripts,bench,test}/**/*.ts', '*.config.ts'], { cwd: ROOT });
const entries = new Set(globSync(ENTRIES, { cwd: ROOT }));
const exported = new Map<string, Set<string>>();
const used = new Map<string, Set<string>>();

for (const file of files) {
  const source = ts.createSourceFile(file, readFileSync(join(ROOT, file), 'utf8'), ts.ScriptTarget.Latest, true);
  exported.set(file, exportsOf(source));
  for (const { from, name } of usesOf(source)) {
    if (from.endsWith('.json')) continue;
    const target = from.startsWith('.') ? join(dirname(file), from) : packageOf(from);
    const names = used.get(target) ?? new Set();
    used.set(target, names.add(name));
  }
  for (const path of namedIn(source)) for (const base of [dirname(file), '.']) entries.add(join(base, path));
}

const complaints: string[] = [];
for (const [file, names] of exported) {
  const uses = used.get(file);
  if (uses === undefined && !entries.has(file)) complaints.push(`${file}: unused file`);
  if (entries.has(file) || uses?.has('*') === true) continue;
  for (const name of names) if (uses?.has(name) !== true) complaints.push(`${file}: unused export ${name}`);
}
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Record<string, Record<string, string>>;
for (const name of Object.keys({ ...manifest['dependencies'], ...manifest['devDependencies'] }))
  if (!used.has(name) && !RUN_ONLY.has(name)) complaints.push(`package.json: unused dependency ${name}`);
for (const name of used.keys())
  if (!name.includes('/') || name.startsWith('@'))
    if (!(name in { ...manifest['dependencies'], ...manifest['devDependencies'] }) && !name.endsWith('.ts'))
      complaints.push(`package.json: missing dependency ${name}`);

for (const complaint of complaints) console.error(complaint);
process.exitCode = complaints.length === 0 ? 0 : 1;

function exportsOf(source: ts.SourceFile): Set<string> {
  const names = new Set<string>();
  for (const statement of source.statements) {
    if (ts.isExportDeclaration(statement)) {
      if (statement.exportClause !== undefined && ts.isNamedExports(statement.exportClause))
        for (const { name } of statement.exportClause.elements) names.add(name.text);
      continue;
    }
    const modifiers = ts.canHaveModifiers(statement) ? ts.getModifiers(statement) : undefined;
    if (modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) !== true) continue;
    const isType = ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement);
    if (isType && mentions(source, statement.name.text) > 1) continue;
    if (ts.isVariableStatement(statement)) {
      for (const { name } of statement.declarationList.declarations) if (ts.isIdentifier(name)) names.add(name.text);
    } else if ('name' in statement && statement.name !== undefined) names.add((statement.name as ts.Identifier).text);
  }
  return names;
}

/** Paths of source files in strings other than import specifiers. */
function namedIn(source: ts.SourceFile): string[] {
  const paths: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return;
    if (ts.isStringLiteralLike(node) && /^[\w./-]+\.ts$/.test(node.text)) paths.push(node.text);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return paths;
}

function mentions(source: ts.SourceFile, name: string): number {
  let count = 0;
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node) && node.text === name) count += 1;
    ts.forEachChild(node, visit);
  };
  visit(source);
  return count;
}

function usesOf(source: ts.SourceFile): Use[] {
  const uses: Use[] = [];
  const visit = (node: ts.Node): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier !== undefined) {
      const from = (node.moduleSpecifier as ts.StringLiteral).text;
      for (const name of namesOf(node)) uses.push({ from, name });
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [argument] = node.arguments;
      if (argument !== undefined && ts.isStringLiteralLike(argument)) uses.push({ from: argument.text, name: '*' });
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      uses.push({ from: (node.argument.literal as ts.StringLiteral).text, name: '*' });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return uses;
}

function namesOf(node: ts.ImportDeclaration | ts.ExportDeclaration): string[] {
  if (ts.isExportDeclaration(node)) {
    if (node.exportClause === undefined || !ts.isNamedExports(node.exportClause)) return ['*'];
    return node.exportClause.elements.map(({ propertyName, name }) => (propertyName ?? name).text);
  }
  const clause = node.importClause;
  const bindings = clause?.namedBindings;
  const names = clause?.name === undefined ? [] : ['default'];
  if (bindings === undefined) return names.length === 0 ? ['*'] : names;
  if (ts.isNamespaceImport(bindings)) return ['*'];
  return [...names, ...bindings.elements.map(({ propertyName, name }) => (propertyName ?? name).text)];
}

function packageOf(specifier: string): string {
  if (specifier.startsWith('node:')) return specifier.replaceAll('/', ':') + '.ts';
  // These are only types; the package with this name is another one.
  if (specifier === 'aws-lambda') return '@types/aws-lambda';
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}
