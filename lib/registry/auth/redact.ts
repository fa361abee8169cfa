/** Keeps secrets out of messages: registries, gateways and helpers repeat what they were sent. */
import { Lru } from '../../core/lru.ts';

const REDACTED = '[redacted]';
/** Secrets that are remembered; a run uses a few credentials and a token for each repository. */
const REMEMBERED = 2_000;
/** A shorter value occurs in ordinary words; its base64 with the user name is still redacted. */
const SHORTEST = 4;

/** Every form of every secret that was sent, process-wide: a reply does not say which request it repeats. */
const forms = new Lru<string, true>(4 * REMEMBERED);

/** Remembers secrets from before they are sent. */
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

/** A foreign text without the secrets that were sent, in whichever encoding it repeats them. */
export function redact(text: string): string {
  let clean = text;
  const lower = text.toLowerCase();
  const found = [...forms.keys()].filter((form) => lower.includes(form.toLowerCase()));
  // The longest first: a form can be the beginning of another.
  for (const form of found.sort((a, b) => b.length - a.length))
    clean = clean.replace(new RegExp(form.replace(/[\\^$.*+?()[\]{}|/-]/g, String.raw`\$&`), 'gi'), REDACTED);
  // "Basic authentication" is a phrase, and `Bearer realm="…"` a challenge.
  return clean.replace(
    /\b(basic|bearer)([\s:]+|%20|\+)(?!\w+\s*=\s*["\\])([\w\-.~+/%]+=*)/gi,
    (all, scheme, gap, word) =>
      /^[a-z]+\.?$/.test(word as string) ? all : `${scheme as string}${gap as string}${REDACTED}`,
  );
}
