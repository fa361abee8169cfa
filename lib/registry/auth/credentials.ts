import { execFile, type ExecFileException } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Failure, invalid } from '../../core/failure.ts';
import { isRecord, readFields } from '../../core/json.ts';
import { own } from '../../core/own.ts';
import { readInput } from '../../core/input-file.ts';
import { withoutSecrets } from '../../core/secrets.ts';
import { wordsFor } from '../../core/system-error.ts';
import { quote } from '../../oci/show.ts';
import { stopped } from '../errors.ts';
import { redact } from '../../core/redact.ts';

/** A login for a registry. All fields except `from` are secrets, and must not appear in logs or errors. */
export interface Credential {
  readonly username: string;
  readonly password?: string;
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

export interface HelperOptions {
  /** The environment of the helpers, whose `PATH` finds them. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  readonly timeoutMs?: number;
}

const HELPER_TIMEOUT_MS = 30_000;
const HELPER_OUTPUT_BYTES = 1024 * 1024;

const execute = promisify(execFile);

/** The key of Docker Hub in credential helpers. */
const DOCKER_HUB_KEY = 'https://index.docker.io/v1/';

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
    const value = own(json, name) ?? {};
    if (!isRecord(value)) throw wrong(`${name} must be an object`);
    return Object.entries(value);
  };
  // Entries are parsed on use, so that only images that need an invalid entry fail.
  const isLegacy = place.endsWith('.dockercfg') && json['auths'] === undefined;
  const auths = new Map<string, readonly [value: unknown, from: string]>();
  for (const [key, value] of isLegacy ? Object.entries(json) : section('auths'))
    auths.set(normalizeKey(key), [value, `${place}: ${isLegacy ? key : `auths["${key}"]`}`]);
  const helpers = new Map<string, readonly [name: unknown, key: string]>();
  for (const [key, value] of section('credHelpers')) helpers.set(normalizeKey(key), [value, `credHelpers["${key}"]`]);
  const store = json['credsStore'] ? ([json['credsStore'], 'credsStore'] as const) : undefined;
  const problems = new Map<string, string>();

  return {
    find: async (host, path, options) => {
      const helper = helpers.get(host) ?? store;
      if (helper !== undefined) {
        const [name, key] = helper;
        try {
          if (typeof name !== 'string' || !/^[\w.-]+$/.test(name))
            throw wrong(`${key} must be the name of a credential helper`);
          const asked = { name, host, from: `${place}: ${key}` };
          const credential = await runHelper(asked, helperOptions, options?.signal);
          problems.delete(host);
          if (credential !== undefined) return credential;
        } catch (thrown) {
          // The image may be public, or `auths` may have credentials; a denial names the failed helper.
          if (!(thrown instanceof Failure) || thrown.code !== 'invalid') throw thrown;
          problems.set(host, thrown.detail);
        }
      }
      for (const key of scopesOf(host, path)) {
        const entry = auths.get(key);
        const credential = entry && parseAuth(...entry);
        if (credential !== undefined) return credential;
      }
      return undefined;
    },
    explain: (host) => problems.get(host),
  };
}

/** `host/a/b`, `host/a`, `host`: the most specific key comes first. */
function scopesOf(host: string, path: string): string[] {
  const parts = [host, ...path.split('/')];
  return parts.map((_, index) => parts.slice(0, parts.length - index).join('/'));
}

/** Keys are hosts, hosts with a path prefix, or the URLs of old clients. */
function normalizeKey(key: string): string {
  const [host = '', ...path] = key
    .replace(/^https?:\/\//, '')
    .replace(/\/+$/, '')
    .split('/');
  const name = host.toLowerCase();
  const canonical = name === 'index.docker.io' || name === 'registry-1.docker.io' ? 'docker.io' : name;
  const api = path.length === 1 && (path[0] === 'v1' || path[0] === 'v2');
  return [canonical, ...(api ? [] : path)].join('/');
}

function parseAuth(value: unknown, from: string): Credential | undefined {
  const wrong = (detail: string): Failure => invalid('read credentials', `${from}: ${detail}`);
  if (!isRecord(value)) throw wrong('must be an object');
  const field = (name: string): string => {
    const each = own(value, name) ?? '';
    if (typeof each !== 'string') throw wrong(`${name} must be a string`);
    return each;
  };
  let username = field('username');
  let password = field('password');
  const auth = field('auth');
  if (auth !== '') {
    // Some versions of Docker pad the decoded bytes with zero bytes.
    const decoded = Buffer.from(auth, 'base64').toString('utf8').replace(/\0+$/, '');
    const colon = decoded.indexOf(':');
    if (colon < 0) throw wrong('auth must be "user:password" in base64');
    username = decoded.slice(0, colon);
    password = decoded.slice(colon + 1);
  }
  const identityToken = field('identitytoken');
  const registryToken = field('registrytoken');
  // An empty entry means that the secret is in the credential store.
  if (password === '' && identityToken === '' && registryToken === '') return undefined;
  return {
    username,
    from,
    ...(password === '' ? {} : { password }),
    ...(identityToken === '' ? {} : { identityToken }),
    ...(registryToken === '' ? {} : { registryToken }),
  };
}

/** The protocol of credential helpers: the server's address on stdin, and JSON or an error message on stdout. */
async function runHelper(
  { name, host, from }: { readonly name: string; readonly host: string; readonly from: string },
  { env, timeoutMs = HELPER_TIMEOUT_MS }: HelperOptions,
  signal: AbortSignal | undefined,
): Promise<Credential | undefined> {
  signal?.throwIfAborted();
  const program = `docker-credential-${name}`;
  const operation = `ask ${program} for ${host}`;
  const wrong = (detail: string): Failure => invalid(operation, `${from}: ${detail}`);
  const server = host === 'docker.io' ? DOCKER_HUB_KEY : host;
  const limits = { maxBuffer: HELPER_OUTPUT_BYTES, timeout: timeoutMs, killSignal: 'SIGKILL' } as const;
  const running = execute(program, ['get'], { ...limits, env, signal });
  // A helper may exit without reading its input.
  running.child.stdin?.on('error', () => undefined);
  running.child.stdin?.end(server);
  let printed: string;
  try {
    printed = (await running).stdout;
  } catch (thrown) {
    const { code, killed, stdout = '', stderr = '' } = thrown as ExecFileException;
    if (signal?.aborted === true) throw stopped(operation, signal);
    if (code === 'ENOENT') throw wrong(`${program} is not installed (not found in PATH)`);
    if (/credentials not found|no credentials/i.test(stdout)) return undefined;
    if (killed === true) throw wrong(`${program} did not answer within ${timeoutMs / 1000} s`);
    throw wrong(`${program} failed: ${quote(redact(stderr.trim() || stdout)) || String(code)}`);
  }
  const fields = readFields(printed);
  const [username, secret] = [fields?.get('username'), fields?.get('secret')];
  if (typeof username !== 'string' || typeof secret !== 'string')
    throw wrong(`${program} returned invalid credentials; expected JSON with Username and Secret`);
  // Some helpers return an empty secret for an unknown host.
  if (secret === '') return undefined;
  return username === '<token>' ? { username, identityToken: secret, from } : { username, password: secret, from };
}
