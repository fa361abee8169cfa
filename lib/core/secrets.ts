/** Secrets in texts of the user that messages repeat. `url-secrets.ts` removes those of URLs from all messages. */

/**
 * The user and the password before a host, with or without a scheme. The name and the tag before a digest, a host with its
 * port, and an `@` within a path are not matched.
 */
const USERINFO = /^([a-z][a-z\d+.-]*:\/\/)?(?:(?<=\/\/)[^/?#\s]+|[^/?#@\s:]*:(?!\/\/|\d{1,5}\/).*)@(?!sha\d+:)/is;

const PRIVATE_KEY = /(-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----).*/s;

/** A text of the user without the user and the password of a URL, and without a private key in PEM. */
export function withoutSecrets(text: string): string {
  return text.replace(USERINFO, '$1[redacted]@').replace(PRIVATE_KEY, '$1[redacted]');
}
