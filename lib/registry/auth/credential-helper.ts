import { execFile, type ExecFileException } from 'node:child_process';
import { promisify } from 'node:util';
import { Failure, invalid } from '../../core/failure.ts';
import { readFields } from '../../core/json.ts';
import { Lru } from '../../core/lru.ts';
import { SharedWork } from '../../core/shared-work.ts';
import { quote } from '../../oci/show.ts';
import { stopped } from '../errors.ts';
import type { Credential } from './credentials.ts';
import { redact } from '../../core/redact.ts';

export interface HelperOptions {
  /** The environment of the helpers, whose `PATH` finds them. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  readonly timeoutMs?: number;
}

interface HelperQuestion {
  readonly name: string;
  /** As in references: `docker.io`. */
  readonly host: string;
  /** The file and the key that name the helper. */
  readonly from: string;
}

const HELPER_TIMEOUT_MS = 30_000;
const HELPER_OUTPUT_BYTES = 1024 * 1024;

const DOCKER_HUB_KEY = 'https://index.docker.io/v1/';

const execute = promisify(execFile);

/** For this time, a helper without a login for a host, or one that has failed, is not asked for it again, in milliseconds. */
const KEPT_MS = 60_000;
/** The number of remembered hosts; redirects may lead to any number of them. */
const HOSTS = 1_000;

/** Asks credential helpers: once for concurrent callers, because a helper is a program that may ask a service. */
export class CredentialHelpers {
  readonly #options: HelperOptions;
  readonly #asking = new SharedWork<Credential | undefined>();
  readonly #without = new Lru<string, { readonly since: number; readonly failure?: Failure }>(HOSTS);

  constructor(options: HelperOptions) {
    this.#options = options;
  }

  /** The login of a host; undefined if the helper has none. @throws Failure `invalid` if the helper fails */
  async ask(question: HelperQuestion, signal: AbortSignal | undefined): Promise<Credential | undefined> {
    const key = JSON.stringify([question.name, question.host]);
    const without = this.#without.get(key);
    if (without !== undefined && performance.now() - without.since < KEPT_MS) {
      if (without.failure !== undefined) throw without.failure;
      return undefined;
    }
    try {
      const work = (abort: AbortSignal): Promise<Credential | undefined> => this.#run(question, abort);
      const found = await this.#asking.join(key, work, signal);
      if (found === undefined) this.#without.set(key, { since: performance.now() });
      return found;
    } catch (thrown) {
      if (signal?.aborted === true) throw stopped(`ask ${programOf(question)} for ${question.host}`, signal);
      if (thrown instanceof Failure && thrown.code === 'invalid')
        this.#without.set(key, { since: performance.now(), failure: thrown });
      throw thrown;
    }
  }

  /** Docker stores the login of Docker Hub under a URL, and podman under its name. */
  async #run(question: HelperQuestion, signal: AbortSignal): Promise<Credential | undefined> {
    const { host } = question;
    if (host !== 'docker.io') return runHelper(question, host, this.#options, signal);
    return (
      (await runHelper(question, DOCKER_HUB_KEY, this.#options, signal)) ??
      (await runHelper(question, host, this.#options, signal))
    );
  }
}

function programOf({ name }: HelperQuestion): string {
  return `docker-credential-${name}`;
}

/** The protocol of credential helpers: the server's address on stdin, and JSON or an error message on stdout. */
async function runHelper(
  question: HelperQuestion,
  server: string,
  { env, timeoutMs = HELPER_TIMEOUT_MS }: HelperOptions,
  signal: AbortSignal,
): Promise<Credential | undefined> {
  signal.throwIfAborted();
  const { host, from } = question;
  const program = programOf(question);
  const operation = `ask ${program} for ${host}`;
  const wrong = (detail: string): Failure => invalid(operation, `${from}: ${detail}`);
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
    if (signal.aborted) throw stopped(operation, signal);
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
