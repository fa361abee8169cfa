import { bytes as readable } from '../../core/format.ts';
import { printable } from '../../oci/show.ts';
import type { Access } from '../../serve/listen.ts';
import { type Io, type Output, writeJson, writeLine } from './io.ts';
import { outputKind } from './output.ts';
import { coloured, fitName, sizeOf, type Tone, widthOf } from './screen.ts';

interface AccessLogOptions {
  readonly json: boolean;
  readonly quiet: boolean;
}

/** The characters of a target in a line; the server accepts longer ones. */
const MAX_TARGET = 1_000;

/** Prints a line for each response. The names and targets are those that clients sent, so control characters are escaped. */
export function accessLog(
  options: AccessLogOptions,
  io: Pick<Io, 'stdout' | 'env'>,
  now: () => number = Date.now,
): (access: Access) => void {
  const { stdout, env } = io;
  if (options.quiet) return () => undefined;
  switch (outputKind({ ...options, progress: undefined }, io)) {
    case 'json':
      return (access) => writeJson(stdout, jsonOf(access, now()));
    case 'bar':
      return (access) => {
        const line = fitted(access, now(), stdout);
        stdout.write(`${coloured(line, toneOf(access), (env['NO_COLOR'] ?? '') === '')}\n`);
      };
    default:
      return (access) => writeLine(stdout, plainOf(access, now()));
  }
}

function jsonOf({ client, user, method, target, kind, status, ...access }: Access, now: number): object {
  const { bytes, redirectedBytes, isMiss, ms } = access;
  return {
    type: 'access',
    at: new Date(now).toISOString(),
    client,
    user: user ?? null,
    method,
    target: target.slice(0, MAX_TARGET),
    kind,
    status,
    bytes: bytes ?? null,
    redirectedBytes,
    miss: isMiss,
    elapsedMs: Math.round(ms),
  };
}

/** Fields for `awk`: two spaces between them, and `-` without a user. */
function plainOf({ client, user, method, target, status, bytes, ms }: Access, now: number): string {
  const [time, size] = [new Date(now).toISOString(), bytes === undefined ? 'interrupted' : String(bytes)];
  const request = `${method} ${target.slice(0, MAX_TARGET)}`;
  return [time, client, user ?? '-', request, String(status), size, `${ms.toFixed(0)} ms`].join('  ');
}

/** For a person: the time of day, and the end of the target, which distinguishes it. */
function fitted({ user, client, method, target, status, bytes, ms }: Access, now: number, out: Output): string {
  const size = bytes === undefined ? 'interrupted' : readable(bytes);
  const [before, after] = [
    `${new Date(now).toTimeString().slice(0, 8)}  ${status}  ${method.padEnd(4)} `,
    `  ${size}  ${ms.toFixed(0)} ms  ${printable(user ?? client)}`,
  ];
  const room = sizeOf(out).columns - before.length - widthOf(after) - 1;
  return `${before}${fitName(printable(target.slice(0, MAX_TARGET)), Math.max(room, 20))}${after}`;
}

function toneOf({ status, bytes }: Access): Tone | undefined {
  if (status >= 500) return 'failure';
  return status >= 400 || bytes === undefined ? 'warning' : undefined;
}
