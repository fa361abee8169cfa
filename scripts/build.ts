/**
 * Bundles what is shipped: the command line, and each Lambda function into a folder of its own. A bundle needs nothing
 * beside it, and starts faster than the hundreds of files that it is made of.
 */
import { globSync, readFileSync } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { build, type BuildOptions, type Plugin } from 'esbuild';

const ROOT = join(import.meta.dirname, '..');

/**
 * Of undici only two agents are used, but its entry point brings fetch, WebSocket and the rest along: half a bundle. An
 * import of anything else from it fails the build, and this list grows.
 */
const undiciAgentOnly: Plugin = {
  name: 'undici-agent-only',
  setup(bundle) {
    bundle.onResolve({ filter: /^undici$/ }, () => ({ path: 'undici', namespace: 'agent-only' }));
    bundle.onLoad({ filter: /.*/, namespace: 'agent-only' }, () => ({
      contents:
        "import Agent from 'undici/lib/dispatcher/agent.js';\nimport EnvHttpProxyAgent from 'undici/lib/dispatcher/env-http-proxy-agent.js';\nexport { Agent, EnvHttpProxyAgent };\n",
      resolveDir: ROOT,
    }));
    // Parsers that are never loaded: an experimental one, and the one for processors without SIMD, which Lambda has not.
    bundle.onLoad({ filter: /undici\/lib\/(?:milo\/.*|llhttp\/llhttp-wasm)\.js$/ }, () => ({
      contents: "throw new Error('this HTTP parser is not in the bundle (scripts/build.ts)');",
    }));
  },
};

const COMMON: BuildOptions = {
  absWorkingDir: ROOT,
  bundle: true,
  platform: 'node',
  target: 'node24',
  format: 'esm',
  // Packages that ship both are smaller as modules: what is not used of them is left out.
  mainFields: ['module', 'main'],
  // CommonJS inside an ES module bundle calls `require` for Node's own modules, and there is none.
  banner: {
    js: "import { createRequire as createRequireOfBundle } from 'node:module';\nconst require = createRequireOfBundle(import.meta.url);",
  },
  plugins: [undiciAgentOnly],
  legalComments: 'none',
  logLevel: 'warning',
};

/** `node scripts/build.ts [FOLDER]` */
const OUT = process.argv[2] ?? 'dist';

/** As deep below the root as `lib/cli/main.ts`, so that what it reads relative to itself is where it looks. */
const COMMAND = `${OUT}/cli/mirror-sync.js`;

/** `functions/layer.ts` becomes `dist/functions/layer/index.mjs`; a file without a handler is no function. */
function functions(): { readonly from: string; readonly to: string }[] {
  return globSync('functions/*.ts', { cwd: ROOT })
    .filter((file) => /^export (?:const|async function) handler\b/m.test(readFileSync(join(ROOT, file), 'utf8')))
    .map((file) => ({ from: file, to: `${OUT}/functions/${basename(file, '.ts')}/index.mjs` }));
}

await rm(resolve(ROOT, OUT), { recursive: true, force: true });
const bundles = [{ from: 'lib/cli/main.ts', to: COMMAND }, ...functions()];
await Promise.all(
  bundles.map(({ from, to }) => {
    const isFunction = to !== COMMAND;
    // Functions load at every cold start, so they are minified; names stay, since stacks and logs show them.
    return build({ ...COMMON, entryPoints: [from], outfile: to, minify: isFunction, keepNames: isFunction });
  }),
);
for (const { to } of bundles) {
  const { size } = await stat(resolve(ROOT, to));
  console.log(`${to}  ${Math.ceil(size / 1024)} KiB`);
}
