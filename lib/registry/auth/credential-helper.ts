import { execFile, type ExecFileException } from 'node:child_process';
import { promisify } from 'node:util';
import { type Failure, invalid } from '../../core/failure.ts';
import { readFields } from '../../core/json.ts';
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

/** The login of a host; undefined if the helper has none. Docker stores that of Docker Hub under a URL, and podman under its name. */
export async function askHelper(
  question: HelperQuestion,
  options: HelperOptions,
  signal: AbortSignal | undefined,
): Promise<Credential | undefined> {
  if (question.host !== 'docker.io') return runHelper(question, question.host, options, signal);
  return (
    (await runHelper(question, DOCKER_HUB_KEY, options, signal)) ??
    (await runHelper(question, question.host, options, signal))
  );
}

/** The protocol of credential helpers: the server's address on stdin, and JSON or an error message on stdout. */
async function runHelper(
  { name, host, from }: HelperQuestion,
  server: string,
  { env, timeoutMs = HELPER_TIMEOUT_MS }: HelperOptions,
  signal: AbortSignal | undefined,
): Promise<Credential | undefined> {
  signal?.throwIfAborted();
  const program = `docker-credential-${name}`;
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
