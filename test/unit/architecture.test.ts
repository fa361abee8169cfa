import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');

/** The directories that each directory may import. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  core: [],
  oci: ['core'],
  registry: ['oci', 'core'],
  store: ['oci', 'core'],
  policy: ['oci', 'core'],
  archive: ['policy', 'store', 'oci', 'core'],
  proof: ['oci', 'core'],
  queue: ['policy', 'oci', 'core'],
  signatures: ['policy', 'oci', 'core'],
  attest: ['signatures', 'policy', 'oci', 'core'],
  config: ['signatures', 'policy', 'oci', 'core'],
  changes: ['oci', 'core'],
  notify: ['core'],
  sync: ['attest', 'signatures', 'changes', 'archive', 'store', 'proof', 'registry', 'queue', 'policy', 'oci', 'core'],
  upkeep: ['attest', 'signatures', 'sync', 'archive', 'store', 'proof', 'queue', 'policy', 'oci', 'core'],
  app: [
    'attest',
    'signatures',
    'config',
    'notify',
    'upkeep',
    'sync',
    'changes',
    'registry',
    'archive',
    'store',
    'queue',
    'policy',
    'oci',
    'core',
  ],
  serve: ['changes', 'archive', 'store', 'policy', 'oci', 'core'],
  webhook: ['app', 'config', 'queue', 'policy', 'oci', 'core'],
  cli: [
    'signatures',
    'serve',
    'app',
    'notify',
    'config',
    'upkeep',
    'sync',
    'changes',
    'archive',
    'store',
    'queue',
    'policy',
    'oci',
    'core',
  ],
  // The library.
  'index.ts': ['app', 'config', 'upkeep', 'sync', 'changes', 'archive', 'store', 'policy', 'oci', 'core'],
  functions: [
    'attest',
    'signatures',
    'webhook',
    'serve',
    'app',
    'notify',
    'config',
    'sync',
    'registry',
    'archive',
    'store',
    'queue',
    'policy',
    'oci',
    'core',
  ],
};

const IMPORT = /(?:^|\n)\s*(?:import|export)\s[^'"]*?from\s+['"](\.[^'"]+)['"]|import\(\s*['"](\.[^'"]+)['"]\s*\)/g;

/** `lib/oci/digest.ts` belongs to the directory `oci`, and `functions/layer.ts` to `functions`. */
function roomOf(file: string): string {
  const [first = '', second = ''] = file.split('/');
  return first === 'lib' ? second : first;
}

/** The forbidden imports of a file from other directories. */
function trespasses(file: string, text: string): string[] {
  const room = roomOf(file);
  const allowed = ARROWS[room];
  if (allowed === undefined) return [`${file} is in a room that this test does not know`];
  return [...text.matchAll(IMPORT)]
    .map(([, from, dynamic]) => join(dirname(file), from ?? dynamic ?? ''))
    .filter((target) => target !== 'package.json' && roomOf(target) !== room && !allowed.includes(roomOf(target)))
    .map((target) => `${file} imports ${target}`);
}

describe('import directions', () => {
  test('hold for every source file', () => {
    const files = globSync(['lib/**/*.ts', 'functions/**/*.ts'], { cwd: ROOT });
    expect(files.length).toBeGreaterThan(20);
    expect(files.flatMap((file) => trespasses(file, readFileSync(join(ROOT, file), 'utf8')))).toEqual([]);
  });

  test.for([
    "import { a } from '../sync/layer/layer.ts';",
    "import type { A } from '../sync/layer/layer.ts';",
    "import {\n  a,\n  b,\n} from '../cli/main.ts';",
    "export * from '../queue/messages.ts';",
    "const a = await import('../archive/archive.ts');",
  ])('are checked for every form of import: %s', (text) => {
    expect(trespasses('lib/registry/source.ts', text)).toHaveLength(1);
  });
});
