import { isUtf8 } from 'node:buffer';
import { join } from 'node:path';
import { Failure, invalid } from '../../core/failure.ts';
import { foldsTo, isRecord } from '../../core/json.ts';
import { own } from '../../core/own.ts';
import { readInput } from '../../core/input-file.ts';
import { withoutSecrets } from '../../core/secrets.ts';
import { wordsFor } from '../../core/system-error.ts';
import { CredentialHelpers, type HelperOptions } from './credential-helper.ts';

/** A login for a registry. All fields except `from` are secrets, and must not appear in logs or errors. */
export interface Credential {
  readonly username: string;
  readonly password?: string;
  /** The user and the password in base64, where their bytes are not UTF-8. */
  readonly encoded?: string;
  /** An OAuth 2 refresh token, exchanged at the token service. */
  readonly identityToken?: string;
  /** A Bearer token for the registry itself. */
  readonly registryToken?: string;
  /** The file and the key of the login. */
  readonly from: string;
}

export interface Credentials {
  /** The login for a repository, if there is one. `host` is as in references: `docker.io`. */
  find(
    host: string,
    path: string,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<Credential | undefined>;
  /** The searched files and the failed helpers, for the error message of a denial. */
  explain?(host: string): string | undefined;
}

export const NO_CREDENTIALS: Credentials = { find: () => Promise.resolve(undefined) };

/** Searches `all` for each host under the name that `nameFor` returns. A host without a name has no login. */
export function renamed(all: Credentials, nameFor: (host: string) => string | false): Credentials {
  return {
    async find(host, path, options) {
      const name = nameFor(host);
      return name === false ? undefined : all.find(name, path, options);
    },
    explain(host) {
      const name = nameFor(host);
      return name === false ? 'mirror.yaml has credentials: false' : all.explain?.(name);
    },
  };
}

export interface CredentialFiles {
  /** `--authfile`; the only file that is read. */
  readonly authfile?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  /** The user's number. Default: that of this process. */
  readonly uid?: number;
  readonly signal?: AbortSignal;
}

/** The key of Docker Hub in credential helpers. */
/**
 * Loads credentials from the files of podman and Docker (containers-auth.json(5)): `authfile`, or `$REGISTRY_AUTH_FILE`, or
 * the default files, podman's before Docker's. Only an explicitly named file must exist.
 *
 * @throws Failure `invalid`, naming the file
 */
export async function loadCredentials({ authfile, env, home, uid, signal }: CredentialFiles): Promise<Credentials> {
  const named = authfile ?? (env['REGISTRY_AUTH_FILE'] || undefined);
  const files = named === undefined ? usualFiles(env, home, uid ?? process.getuid?.()) : [named];
  const found: Credentials[] = [];
  for (const file of files) {
    const bytes = await readInput(file, signal).catch((error: unknown) => {
      signal?.throwIfAborted();
      const { code = 'unreadable' } = error as NodeJS.ErrnoException;
      if (named === undefined && (code === 'ENOENT' || code === 'ENOTDIR')) return undefined;
      throw invalid(`read credentials ${withoutSecrets(file)}`, wordsFor(error));
    });
    if (bytes !== undefined) found.push(parseDockerConfig(bytes.toString('utf8'), file, { env }));
  }
  return {
    find: async (host, path, options) => {
      for (const credentials of found) {
        const credential = await credentials.find(host, path, options);
        if (credential !== undefined) return credential;
      }
      return undefined;
    },
    explain: (host) =>
      [`looked in ${files.join(', ')}`, ...found.flatMap((each) => each.explain?.(host) ?? [])].join('; '),
  };
}

/** The order of containers-auth.json(5). The last file is that of Docker before version 1.7. */
function usualFiles(env: CredentialFiles['env'], home: string, uid: number | undefined): string[] {
  const runtime = env['XDG_RUNTIME_DIR'] && join(env['XDG_RUNTIME_DIR'], 'containers');
  const folder = runtime || (uid === undefined ? undefined : `/run/containers/${uid}`);
  return [
    ...(folder === undefined ? [] : [join(folder, 'auth.json')]),
    join(env['XDG_CONFIG_HOME'] || join(home, '.config'), 'containers', 'auth.json'),
    join(env['DOCKER_CONFIG'] || join(home, '.docker'), 'config.json'),
    join(home, '.dockercfg'),
  ];
}

/**
 * Parses Docker's `config.json`. As in Docker, `credHelpers` come first, then `credsStore`, then `auths`.
 *
 * @param place the path of the file or the name of the secret, for errors
 * @throws Failure `invalid` with the place and the key, but without any value
 */
// eslint-disable-next-line max-lines-per-function -- the keys of one file, in order
export function parseDockerConfig(text: string, place: string, helperOptions: HelperOptions = {}): Credentials {
  const wrong = (detail: string): Failure => invalid('read credentials', `${place}: ${detail}`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // The parser's message would quote secrets.
    throw wrong('not valid JSON');
  }
  if (!isRecord(json)) throw wrong('not a JSON object');
  const section = (name: string): [string, unknown][] => {
    const value = fieldOf(json, name) ?? {};
    if (!isRecord(value)) throw wrong(`${name} must be an object`);
    return Object.entries(value);
  };
  // Entries are parsed on use, so that only images that need an invalid entry fail.
  const isLegacy = place.endsWith('.dockercfg') && fieldOf(json, 'auths') === undefined;
  const auths = byScope(isLegacy ? Object.entries(json) : section('auths'));
  const helpers = byScope(section('credHelpers'));
  const store = fieldOf(json, 'credsStore');
  const stores: readonly Entry[] = store ? [{ key: undefined, value: store }] : [];
  const programs = new CredentialHelpers(helperOptions);
  const problems = new Map<string, string>();

  return {
    find: async (host, path, options) => {
      for (const { key, value: name } of helpers.get(host) ?? stores) {
        const from = key === undefined ? 'credsStore' : `credHelpers["${key}"]`;
        try {
          if (typeof name !== 'string' || !/^[\w.-]+$/.test(name))
            throw wrong(`${from} must be the name of a credential helper`);
          const asked = { name, host, from: `${place}: ${from}` };
          const credential = await programs.ask(asked, options?.signal);
          problems.delete(host);
          if (credential !== undefined) return credential;
        } catch (thrown) {
          // The image may be public, or `auths` may have credentials; a denial names the failed helper.
          if (!(thrown instanceof Failure) || thrown.code !== 'invalid') throw thrown;
          problems.set(host, thrown.detail);
        }
      }
      for (const { key = '', value } of scopesOf(host, path).flatMap((scope) => auths.get(scope) ?? [])) {
        const credential = parseAuth(value, `${place}: ${isLegacy ? key : `auths["${key}"]`}`);
        if (credential !== undefined) return credential;
      }
      return undefined;
    },
    explain: (host) => problems.get(host),
  };
}

/** A field of a file that Docker writes; Go reads a name in any case. */
function fieldOf(record: Readonly<Record<string, unknown>>, name: string): unknown {
  return own(record, name) ?? Object.entries(record).find(([key]) => foldsTo(key, name))?.[1];
}

interface Entry {
  readonly key: string | undefined;
  readonly value: unknown;
}

/** The entries of a section for each scope: first the one whose key is the scope itself, and URLs with a path last. */
function byScope(section: readonly [string, unknown][]): ReadonlyMap<string, readonly Entry[]> {
  const ranked = section.map(([key, value]) => ({ key, value, ...scopeIn(key) }));
  ranked.sort((one, other) => one.rank - other.rank);
  return Map.groupBy(ranked, ({ scope }) => scope);
}

/** `host/a/b`, `host/a`, `host`: the most specific key comes first. */
function scopesOf(host: string, path: string): string[] {
  const parts = [host, ...path.split('/')];
  return parts.map((_, index) => parts.slice(0, parts.length - index).join('/'));
}

/** Keys are hosts, hosts with a path prefix, or the URLs of clients; a URL means its host. */
function scopeIn(key: string): { readonly scope: string; readonly rank: number } {
  const bare = key.replace(/^https?:\/\//, '');
  const [host = '', ...path] = bare.replace(/\/+$/, '').split('/');
  const name = host.toLowerCase();
  const canonical = name === 'index.docker.io' || name === 'registry-1.docker.io' ? 'docker.io' : name;
  const isRoot = path.length === 0 || (path.length === 1 && (path[0] === 'v1' || path[0] === 'v2'));
  const scope = isRoot || bare !== key ? canonical : [canonical, ...path].join('/');
  if (scope === key) return { scope, rank: 0 };
  return { scope, rank: isRoot || bare === key ? 1 : 2 };
}

function parseAuth(value: unknown, from: string): Credential | undefined {
  const wrong = (detail: string): Failure => invalid('read credentials', `${from}: ${detail}`);
  if (!isRecord(value)) throw wrong('must be an object');
  const field = (name: string): string | undefined => {
    const each = fieldOf(value, name) ?? undefined;
    if (each !== undefined && typeof each !== 'string') throw wrong(`${name} must be a string`);
    return each;
  };
  const login = decodeLogin(field('auth') ?? '') ?? { username: field('username') ?? '', password: field('password') };
  if (login === 'invalid') throw wrong('auth must be "user:password" in base64');
  const { username, password, encoded } = login;
  const identityToken = field('identitytoken') ?? '';
  const registryToken = field('registrytoken') ?? '';
  // The user of a token has no password, and an entry without a user means that the secret is in the credential store.
  const isNamed = username !== '' && identityToken === '' && registryToken === '';
  const hasPassword = password !== undefined && (password !== '' || isNamed);
  if (!hasPassword && identityToken === '' && registryToken === '') return undefined;
  return {
    username,
    from,
    ...(hasPassword ? { password } : {}),
    ...(encoded === undefined ? {} : { encoded }),
    ...(identityToken === '' ? {} : { identityToken }),
    ...(registryToken === '' ? {} : { registryToken }),
  };
}

/** The login in the field `auth`; undefined if the field is empty. */
function decodeLogin(
  auth: string,
):
  | { readonly username: string; readonly password?: string | undefined; readonly encoded?: string }
  | 'invalid'
  | undefined {
  if (auth === '') return undefined;
  const padded = Buffer.from(auth, 'base64');
  // Some versions of Docker pad the decoded bytes with zero bytes.
  const bytes = padded.subarray(0, padded.findLastIndex((byte) => byte !== 0) + 1);
  const text = bytes.toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 0) return 'invalid';
  const login = { username: text.slice(0, colon), password: text.slice(colon + 1) };
  return isUtf8(bytes) ? login : { ...login, encoded: bytes.toString('base64') };
}
