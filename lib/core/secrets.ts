/** Secrets in the texts of messages: in all messages those of URLs, and in values of the user all known forms. */

/** An authority that begins with `user:password`, and not with a host and its port. */
const LOGIN = /^[^[/?#\\@:]*:(?!\d{0,5}(?:[/?#\\]|$))/;

/**
 * Removes the logins and the queries of the URLs in a text for people. Libraries repeat the URL of a request in their errors, and
 * people paste URLs with passwords and signatures. Takes linear time.
 */
export function withoutUrlSecrets(text: string): string {
  if (!text.includes('://')) return text;
  return text.replace(/:\/\/\S+/g, (found) =>
    found
      // A list without spaces, or a URL in the query of another one.
      .replace(/(?<=:\/\/)(?:(?!:\/\/)\S)+/g, withoutLogin)
      .replace(/\?[^"`<>\\]+/g, '?[redacted]'),
  );
}

/** @param rest a URL after its scheme */
function withoutLogin(rest: string): string {
  // An unescaped / ? or # in a password ends the authority too early.
  const end = LOGIN.test(rest) ? rest.length : rest.search(/[/?#\\]|$/);
  const at = rest.lastIndexOf('@', end - 1);
  return at === -1 ? rest : `[redacted]${rest.slice(at)}`;
}

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
