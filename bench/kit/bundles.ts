/** Measures bundles: the bytes of each package in a bundle, and the size of a single part. */
import { stat } from 'node:fs/promises';
import { build } from 'esbuild';
import { FUNCTION, ROOT } from '../../scripts/bundle.ts';

/** The bytes in a function's bundle by package; `mirror-sync` is this project's code. */
export async function bytesByPackage(from: string): Promise<Map<string, number>> {
  const { metafile } = await build({
    ...FUNCTION,
    entryPoints: [from],
    outfile: 'x.mjs',
    metafile: true,
    write: false,
  });
  const bytes = new Map<string, number>();
  for (const { inputs } of Object.values(metafile.outputs))
    for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
      const name = packageOf(path);
      bytes.set(name, (bytes.get(name) ?? 0) + bytesInOutput);
    }
  return bytes;
}

/** The SDK consists of a hundred packages, which are grouped by purpose. */
function packageOf(path: string): string {
  const [, name] = /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path) ?? [];
  if (name === undefined) return 'mirror-sync';
  if (name.startsWith('@aws-lambda-powertools/') || name.startsWith('@aws/')) return 'powertools';
  if (name === '@aws-sdk/client-s3' || name === '@aws-sdk/middleware-sdk-s3') return 'aws-sdk: s3';
  if (name.startsWith('@aws-sdk/client-')) return name.replace('@aws-sdk/client-', 'aws-sdk: ');
  return name.startsWith('@aws-sdk/') || name.startsWith('@smithy/') ? 'aws-sdk: what its clients share' : name;
}

/** Builds a function that imports these modules of the project and does nothing. Returns its size in bytes. */
export async function bundleOfImports(modules: readonly string[], outfile: string): Promise<number> {
  const imports = modules.map((path, index) => `import * as part${index} from './${path}';`);
  // esbuild keeps all exports.
  const kept = modules.map((_, index) => `part${index}`).join(', ');
  const contents = `${imports.join('\n')}\nexport const parts = { ${kept} };\nexport const handler = () => Promise.resolve({});`;
  await build({ ...FUNCTION, stdin: { contents, resolveDir: ROOT, sourcefile: 'imports.ts', loader: 'ts' }, outfile });
  return (await stat(outfile)).size;
}
