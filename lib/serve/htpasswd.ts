/** Parses the files of `htpasswd -B`. Pure. */
import { invalid } from '../core/failure.ts';
import { show } from '../oci/show.ts';
import { largest } from '../core/extremes.ts';

/** The bcrypt hash of each user. */
export type Users = ReadonlyMap<string, string>;

const BCRYPT = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/;
/** A higher cost takes more than two seconds per login. Each step doubles the time. */
const [MIN_COST, MAX_COST] = [4, 14];

/** The other formats, which registries refuse as well. */
const OTHERS = [
  [/^\$apr1\$/, 'an MD5 hash'],
  [/^\{SHA\}/, 'a SHA-1 hash'],
  [/^\$5\$/, 'a SHA-256 hash of crypt'],
  [/^\$6\$/, 'a SHA-512 hash of crypt'],
  [/^\$2\w?\$/, 'an incomplete bcrypt hash'],
] as const;

/**
 * @param file its name in errors, which never contain a hash
 * @throws Failure `invalid` with the first wrong line
 */
export function parseHtpasswd(bytes: Uint8Array, file: string): Users {
  const users = new Map<string, string>();
  const lineOf = new Map<string, number>();
  for (const [at, line] of textOf(bytes, file).split('\n').entries()) {
    const text = line.trim();
    if (text === '' || text.startsWith('#')) continue;
    const wrong = (detail: string): Error => invalid(`read logins ${file}`, `line ${at + 1}: ${detail}`);
    const [user, hash] = entryOf(text, wrong);
    const first = lineOf.get(user);
    if (first !== undefined) throw wrong(`the user ${show(user)} is also in line ${first}; remove one of the lines`);
    lineOf.set(user, at + 1);
    users.set(user, hash);
  }
  if (users.size === 0)
    throw invalid(`read logins ${file}`, `the file has no user; add one with htpasswd -B ${file} USER`);
  return users;
}

/** The highest cost of the hashes. */
export function costOf(users: Users): number {
  return largest([...users.values()].map((hash) => Number(BCRYPT.exec(hash)?.[1])));
}

function entryOf(text: string, wrong: (detail: string) => Error): [user: string, hash: string] {
  const colon = text.indexOf(':');
  if (colon <= 0) throw wrong('expected USER:HASH');
  const [user, hash] = [text.slice(0, colon), text.slice(colon + 1)];
  if (/[\p{Cc}\p{Cf}]/u.test(user)) throw wrong(`the user ${show(user)} has a control character`);
  const [, cost] = BCRYPT.exec(hash) ?? [];
  if (cost === undefined) {
    const kind = OTHERS.find(([form]) => form.test(hash))?.[1] ?? 'not a known hash';
    throw wrong(`the password of ${show(user)} is ${kind} (expected bcrypt); create it with htpasswd -B`);
  }
  if (Number(cost) < MIN_COST || Number(cost) > MAX_COST)
    throw wrong(`the cost of the hash of ${show(user)} is ${Number(cost)} (expected ${MIN_COST} to ${MAX_COST})`);
  return [user, hash];
}

function textOf(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw invalid(`read logins ${file}`, 'the file is not in UTF-8');
  }
}
