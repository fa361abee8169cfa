/** Removes secrets from messages: registries, gateways and helpers may repeat the credentials that they received. */
import { Lru } from './lru.ts';

const REDACTED = '[redacted]';
/** The number of remembered encodings of the user's credentials. */
const CREDENTIALS = 8_000;
/** The memory for issued tokens, in characters; all encodings of a token of a kilobyte have about five thousand. */
const TOKENS = 8 * 1024 * 1024;
/** The memory that an entry takes beside its characters. */
const ENTRY = 100;
/** Longer secrets are recognised by their start. Common ones have at most 3,000 bytes. */
const LONGEST = 3 * 1365;
/** Shorter values occur in ordinary words; their base64 with the user name is still redacted. */
const SHORTEST = 4;
/** The same for messages, in which also the names of repositories and hosts occur. */
const SHORTEST_IN_MESSAGES = 8;

/**
 * All encodings of all secrets that were sent by this process; a reply may repeat any of them. The tokens of one
 * registry do not displace the credentials for another.
 */
const credentials = new Lru<string, Form>(CREDENTIALS);
const tokens = new Lru<string, Form>(TOKENS, ({ weight }) => weight);

interface Form {
  /** Whether it is only the start of a secret. */
  readonly isStart: boolean;
  readonly weight: number;
}

/** Remembers credentials; must be called before they are sent. */
export function remember(...secrets: readonly (string | undefined)[]): void {
  for (const secret of secrets) if (secret !== undefined) add(credentials, secret);
}

/** Remembers a token that a registry has issued; must be called before it is sent. */
export function rememberToken(token: string): void {
  add(tokens, token);
}

function add(forms: Lru<string, Form>, secret: string): void {
  if (secret.length < SHORTEST) return;
  const isStart = secret.length > LONGEST;
  for (const form of formsOf(secret.slice(0, LONGEST).toWellFormed()))
    forms.set(form, { isStart, weight: form.length + ENTRY });
}

function formsOf(secret: string): Set<string> {
  const bytes = Buffer.from(secret, 'utf8');
  const base64 = bytes.toString('base64');
  const plain = [secret, base64.replace(/=+$/, ''), bytes.toString('base64url')];
  return new Set(
    plain.flatMap((form) => [form, encodeURIComponent(form), new URLSearchParams({ x: form }).toString().slice(2)]),
  );
}

/** Replaces all secrets in a remote text, in any encoding. */
export function redact(text: string): string {
  // "Basic authentication" is a phrase, and `Bearer realm="…"` a challenge.
  return withoutSent(text, SHORTEST).replace(
    /\b(basic|bearer)([\s:]+|%20|\+)(?!\w+\s*=\s*["\\])([\w\-.~+/%]+=*)/gi,
    (all, scheme, gap, word) =>
      /^[a-z]+\.?$/.test(word as string) ? all : `${scheme as string}${gap as string}${REDACTED}`,
  );
}

/**
 * Replaces secrets in a message that may repeat parts of a remote document. Shorter secrets remain, because they also occur in
 * the names of repositories and hosts.
 */
export function withoutSentSecrets(text: string): string {
  return withoutSent(text, SHORTEST_IN_MESSAGES);
}

function withoutSent(text: string, shortest: number): string {
  const clean = replaced(text, shortest);
  const plain = unescaped(clean);
  const cleaner = plain === clean ? clean : replaced(plain, shortest);
  return cleaner === plain ? clean : cleaner;
}

function replaced(text: string, shortest: number): string {
  let clean = text;
  const lower = text.toLowerCase();
  const found = [...credentials.keys(), ...tokens.keys()].filter(
    (form) => form.length >= shortest && form.length <= text.length && lower.includes(form.toLowerCase()),
  );
  // Longest first, because one form may be a prefix of another.
  for (const form of found.sort((a, b) => b.length - a.length)) clean = clean.replace(patternOf(form), REDACTED);
  return clean;
}

const ENTITIES: ReadonlyMap<string, string> = new Map([
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
  ['apos', "'"],
]);

/** A text without the escapes of HTML and JSON, in which a server may repeat a secret. */
function unescaped(text: string): string {
  return text
    .replace(/&(amp|lt|gt|quot|apos);/g, (all, name: string) => ENTITIES.get(name) ?? all)
    .replace(/&#(\d{1,7});/g, (all, code: string) => character(all, Number(code)))
    .replace(/&#x([\da-f]{1,6});|\\u([\da-f]{4})/gi, (all, html: string | undefined, json = '') =>
      character(all, Number.parseInt(html ?? (json as string), 16)),
    )
    .replace(/\\(["\\/])/g, '$1');
}

function character(escape: string, code: number): string {
  return code <= 0x10_ff_ff ? String.fromCodePoint(code) : escape;
}

function patternOf(form: string): RegExp {
  const literal = form.replace(/[\\^$.*+?()[\]{}|/-]/g, String.raw`\$&`);
  const rest = (credentials.get(form) ?? tokens.get(form))?.isStart === true ? String.raw`[^\s"<>]*` : '';
  return new RegExp(literal + rest, 'gi');
}
