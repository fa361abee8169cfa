/** Removes secrets from messages: registries, gateways and helpers may repeat the credentials that they received. */
import { Lru } from '../../core/lru.ts';

const REDACTED = '[redacted]';
/** The number of remembered secrets; a run uses a few credentials and one token per repository. */
const REMEMBERED = 2_000;
/** Shorter values occur in ordinary words; their base64 with the user name is still redacted. */
const SHORTEST = 4;

/** All encodings of all secrets that were sent by this process; a reply may repeat any of them. */
const forms = new Lru<string, true>(4 * REMEMBERED);

/** Remembers secrets; must be called before they are sent. */
export function remember(...secrets: readonly (string | undefined)[]): void {
  for (const secret of secrets)
    if (secret !== undefined && secret.length >= SHORTEST) for (const form of formsOf(secret)) forms.set(form, true);
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
  let clean = text;
  const lower = text.toLowerCase();
  const found = [...forms.keys()].filter((form) => lower.includes(form.toLowerCase()));
  // Longest first, because one form may be a prefix of another.
  for (const form of found.sort((a, b) => b.length - a.length))
    clean = clean.replace(new RegExp(form.replace(/[\\^$.*+?()[\]{}|/-]/g, String.raw`\$&`), 'gi'), REDACTED);
  // "Basic authentication" is a phrase, and `Bearer realm="…"` a challenge.
  return clean.replace(
    /\b(basic|bearer)([\s:]+|%20|\+)(?!\w+\s*=\s*["\\])([\w\-.~+/%]+=*)/gi,
    (all, scheme, gap, word) =>
      /^[a-z]+\.?$/.test(word as string) ? all : `${scheme as string}${gap as string}${REDACTED}`,
  );
}
