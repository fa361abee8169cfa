/** Bundles for measuring: whose bytes are in them, and what a part of one costs alone. */
import { stat } from 'node:fs/promises';
import { build } from 'esbuild';
import { FUNCTION, ROOT } from '../../scripts/bundle.ts';

/** Bytes in a function's bundle by the package that they come from; what is this project's own is `mirror-sync`. */
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

/** The SDK is a hundred packages; what they are for is what one wants to know. */
function packageOf(path: string): string {
  const [, name] = /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path) ?? [];
  if (name === undefined) return 'mirror-sync';
  if (name.startsWith('@aws-lambda-powertools/') || name.startsWith('@aws/')) return 'powertools';
  if (name === '@aws-sdk/client-s3' || name === '@aws-sdk/middleware-sdk-s3') return 'aws-sdk: s3';
  if (name.startsWith('@aws-sdk/client-')) return name.replace('@aws-sdk/client-', 'aws-sdk: ');
  return name.startsWith('@aws-sdk/') || name.startsWith('@smithy/') ? 'aws-sdk: what its clients share' : name;
}

/** A function that imports these modules of the project, as functions import them, and does nothing; its size in bytes. */
export async function bundleOfImports(modules: readonly string[], outfile: string): Promise<number> {
  const imports = modules.map((path, index) => `import * as part${index} from './${path}';`);
  // esbuild keeps everything that is exported.
  const kept = modules.map((_, index) => `part${index}`).join(', ');
  const contents = `${imports.join('\n')}\nexport const parts = { ${kept} };\nexport const handler = () => Promise.resolve({});`;
  await build({ ...FUNCTION, stdin: { contents, resolveDir: ROOT, sourcefile: 'imports.ts', loader: 'ts' }, outfile });
  return (await stat(outfile)).size;
}
