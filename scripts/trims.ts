/**
 * What bundles leave out of the packages that they are made of: what this software never reaches in them. What stands in
 * its place says so, should that change.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Plugin } from 'esbuild';

const ROOT = join(import.meta.dirname, '..');

/** A module in place of others, which are known by their path from `node_modules/` on. */
interface Trim {
  readonly path: RegExp;
  readonly contents: string;
}

function absent(path: RegExp, what: string): Trim {
  const message = `${what}: left out of this bundle (scripts/trims.ts)`;
  return { path, contents: `throw new Error(${JSON.stringify(message)});` };
}

/** For `lib/registry/http/agents.ts`, which uses two agents, and sends bodies that are strings. */
const UNDICI: readonly Trim[] = [
  {
    // The entry point brings fetch, WebSocket and the rest along: half a bundle. An import of anything else than these
    // fails the build, and this list grows.
    path: /undici\/index\.js$/,
    contents: `export { default as Agent } from 'undici/lib/dispatcher/agent.js';
      export { default as buildConnector } from 'undici/lib/core/connect.js';
      export { default as ProxyAgent } from 'undici/lib/dispatcher/proxy-agent.js';`,
  },
  absent(/undici\/lib\/web\//, 'fetch, and bodies such as it takes'),
  absent(/undici\/lib\/milo\//, 'the experimental HTTP parser'),
  // Lambda has no such processors.
  absent(/undici\/lib\/llhttp\/llhttp-wasm\.js$/, 'the HTTP parser for processors without SIMD'),
];

/**
 * Lambda gives a function its role's credentials in the environment, and has no profiles, no single sign-on and no metadata
 * service. All else that the SDK looks for on other machines, with the clients that it needs for that, is a seventh of a
 * bundle.
 */
const AWS_CREDENTIALS: readonly Trim[] = [
  {
    path: /@aws-sdk\/credential-provider-node\/dist-es\/index\.js$/,
    contents: `export { fromEnv as defaultProvider } from '@aws-sdk/credential-provider-env';`,
  },
];

/** Trims that no bundle has needed so far: their packages have changed, or nobody imports them any more. */
export const idle = new Set([...UNDICI, ...AWS_CREDENTIALS]);

/** The command line runs on machines that have all kinds of credentials, and size matters less there. */
export const TRIMS_OF_COMMAND = [inPlaceOf('undici', UNDICI)];
export const TRIMS_OF_FUNCTIONS = [
  ...TRIMS_OF_COMMAND,
  inPlaceOf('aws-credentials', AWS_CREDENTIALS),
  yamlAsModules(),
  awsSchemasWithPlainKeys(),
];

function inPlaceOf(name: string, trims: readonly Trim[]): Plugin {
  return {
    name: `trim-${name}`,
    setup(bundle) {
      for (const trim of trims)
        bundle.onLoad({ filter: new RegExp(`/node_modules/${trim.path.source}`) }, () => {
          idle.delete(trim);
          return { contents: trim.contents, resolveDir: ROOT };
        });
    },
  };
}

/** What `yaml` has for Node.js is CommonJS, of which nothing can be left out; what it has for browsers is the same in modules. */
function yamlAsModules(): Plugin {
  return {
    name: 'yaml-as-modules',
    setup(bundle) {
      const path = join(ROOT, 'node_modules/yaml/browser/dist/index.js');
      bundle.onResolve({ filter: /^yaml$/ }, () => ({ path, sideEffects: false }));
    },
  };
}

/**
 * The AWS SDK describes each operation in a constant, with keys that are constants too (`{ [_http]: … }`). For all that
 * esbuild knows such a key could do something, and so it keeps every operation of S3. With the keys' values in their place
 * it keeps those that are used.
 */
function awsSchemasWithPlainKeys(): Plugin {
  return {
    name: 'aws-schemas-with-plain-keys',
    setup(bundle) {
      bundle.onLoad({ filter: /\/node_modules\/@aws-sdk\/.*\/schemas\/schemas_0\.js$/ }, async ({ path }) => {
        const text = await readFile(path, 'utf8');
        const constants = text.matchAll(/^const (_\w+) = ("[^"]*");$/gm);
        const values = new Map(Array.from(constants, ([, name, value]) => [name, value]));
        return { contents: text.replace(/\[(_\w+)\]:/g, (key, name: string) => `${values.get(name) ?? key}:`) };
      });
    },
  };
}
