/** Replaces modules that are never used in the bundles with an error that names this file. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Plugin } from 'esbuild';

const ROOT = join(import.meta.dirname, '..');

/** A replacement for modules, which are matched by their path from `node_modules/`. */
interface Trim {
  readonly path: RegExp;
  readonly contents: string;
}

function absent(path: RegExp, what: string): Trim {
  const message = `${what}: left out of this bundle (scripts/trims.ts)`;
  return { path, contents: `throw new Error(${JSON.stringify(message)});` };
}

/** A replacement for a module that its importer loads at once, but calls only for an unused feature. */
function uncalled(path: RegExp, what: string): Trim {
  const message = `${what}: left out of this bundle (scripts/trims.ts)`;
  return { path, contents: `module.exports = function () { throw new Error(${JSON.stringify(message)}); };` };
}

/** A CommonJS module with these of its exports, which are data. */
function only(path: RegExp, module: string, names: readonly string[]): Trim {
  const all = createRequire(import.meta.url)(module) as Readonly<Record<string, unknown>>;
  const kept = Object.fromEntries(names.map((name) => [name, all[name]]));
  return { path, contents: `module.exports = ${JSON.stringify(kept)};` };
}

/** For `lib/registry/http/agents.ts`, which uses two agents over HTTP/1.1, and sends bodies that are strings. */
const UNDICI: readonly Trim[] = [
  {
    // The entry point includes fetch and WebSocket, half of the bundle. An import of any other export fails the build; add
    // it to this list. Of the methods that the entry point gives to all dispatchers, ProxyAgent needs `connect`.
    path: /undici\/index\.js$/,
    contents: `import Dispatcher from 'undici/lib/dispatcher/dispatcher.js';
      import connect from 'undici/lib/api/api-connect.js';
      Dispatcher.prototype.connect = connect;
      export { default as Agent } from 'undici/lib/dispatcher/agent.js';
      export { default as buildConnector } from 'undici/lib/core/connect.js';
      export { default as ProxyAgent } from 'undici/lib/dispatcher/proxy-agent.js';`,
  },
  absent(/undici\/lib\/web\//, 'fetch, and bodies such as it takes'),
  // `ESBUILD_DETECTION` leaves out the experimental HTTP parser.
  only(/undici\/lib\/llhttp\/constants\.js$/, 'undici/lib/llhttp/constants.js', ['ERROR', 'TYPE']),
  uncalled(/undici\/lib\/dispatcher\/client-h2\.js$/, 'HTTP/2'),
  uncalled(/undici\/lib\/dispatcher\/socks5-proxy-agent\.js$/, 'SOCKS proxies of undici'),
  // All processors of Lambda have SIMD.
  absent(/undici\/lib\/llhttp\/llhttp-wasm\.js$/, 'the HTTP parser for processors without SIMD'),
];

/**
 * Lambda has the credentials of a role in the environment. The SDK's other credential providers (profiles, single sign-on,
 * metadata service) are a seventh of a bundle.
 */
const AWS_CREDENTIALS: readonly Trim[] = [
  {
    path: /@aws-sdk\/credential-provider-node\/dist-es\/index\.js$/,
    contents: `export { fromEnv as defaultProvider } from '@aws-sdk/credential-provider-env';`,
  },
];

/** `lib/registry/http/socks.ts` opens tunnels with it. Functions have a network of their own. */
const SOCKS: readonly Trim[] = [
  {
    path: /socks\/build\/index\.js$/,
    contents: `const message = 'a SOCKS proxy is not supported in a function; use an HTTP proxy';
      const error = () => Object.assign(new Error(message), { code: 'UND_ERR_INVALID_ARG' });
      module.exports = { SocksClient: { createConnection: () => Promise.reject(error()) } };`,
  },
];

/** Only the query language of S3 answers with a stream of events. */
const AWS_EVENT_STREAMS: readonly Trim[] = [
  {
    path: /@smithy\/core\/dist-es\/submodules\/event-streams\/index\.js$/,
    contents: `export const eventStreamSerdeProvider = undefined;
      export const resolveEventStreamSerdeConfig = (config) => config;
      export class EventStreamSerde {
        constructor() { throw new Error('streams of events: left out of this bundle (scripts/trims.ts)'); }
      }`,
  },
];

/** undici has an experimental HTTP parser beside llhttp, and leaves it out of a bundle that defines this name. */
export const ESBUILD_DETECTION = { esbuildDetection: '1' };

/** The trims without a match so far; their packages have changed, or are no longer imported. */
export const idle = new Set([...UNDICI, ...SOCKS, ...AWS_CREDENTIALS, ...AWS_EVENT_STREAMS]);

/** The command line needs all credential providers, and its size matters less. */
export const TRIMS_OF_COMMAND = [replacing('undici', UNDICI)];
export const TRIMS_OF_FUNCTIONS = [
  ...TRIMS_OF_COMMAND,
  replacing('socks', SOCKS),
  replacing('aws-credentials', AWS_CREDENTIALS),
  replacing('aws-event-streams', AWS_EVENT_STREAMS),
  yamlAsModules(),
  awsSchemasWithPlainKeys(),
];

function replacing(name: string, trims: readonly Trim[]): Plugin {
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

/** The browser entry point of `yaml` has ES modules; that for Node.js is CommonJS, without tree shaking. */
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
 * The AWS SDK describes each operation in a constant with computed keys (`{ [_http]: … }`). esbuild assumes side effects of such
 * keys and keeps all operations of S3. With literal keys it keeps only the used ones.
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
