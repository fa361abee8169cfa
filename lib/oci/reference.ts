import { Failure, invalid } from '../core/failure.ts';
import { digestFault, type Digest } from './digest.ts';
import { defined } from '../core/defined.ts';
import { withoutSecrets } from '../core/secrets.ts';
import { show } from './show.ts';

/** A repository, normalised as Docker does it: `alpine` is host `docker.io` and path `library/alpine`. */
export interface Repository {
  /** Registry host in lower case, with its port if it has one: `docker.io`, `localhost:5000`, `[::1]:5000`. */
  readonly host: string;
  readonly path: string;
}

/** The image that a person asks for. With neither tag nor digest it means the whole repository. */
export interface Reference extends Repository {
  readonly tag?: string;
  readonly digest?: Digest;
}

export const DOCKER_HUB = 'docker.io';
/** Other names that users write for Docker Hub: the old index, and the host of its API. */
const DOCKER_HUB_ALIASES: ReadonlySet<string> = new Set(['index.docker.io', 'registry-1.docker.io']);

/** Host and path with the slash between them, in characters. OCI distribution spec 1.1, "Pulling manifests". */
const MAX_NAME = 255;
/** The length of a name, a tag and the longest digest; a longer text is refused at once. */
const MAX_REFERENCE = MAX_NAME + 1 + 128 + 1 + 'sha512:'.length + 128;

const HOST =
  /^((?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:]+\])(?::[1-9][0-9]{0,4})?$/;
/** One component of a path: alphanumerics, separated by one `.`, one or two `_`, or any number of `-`. */
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const IMAGE_ID = /^[0-9a-f]{64}$/;

/**
 * Names that a repository's own folder uses, or that are links for other tools; a nested repository must not have such
 * a name.
 */
const RESERVED: ReadonlySet<string> = new Set(['blobs', 'index.json', 'oci-layout']);

/**
 * Parses Docker's grammar (`name[:tag][@digest]`) and normalises the name. No tag is added: see `withDefaultTag`.
 *
 * @throws {Failure} `invalid`, with the problem and its remedy
 */
export function parseReference(text: string): Reference {
  return parse(text, 'reference');
}

/** Parses a name without tag and digest. */
export function parseRepository(text: string): Repository {
  const { host, path, tag, digest } = parse(text, 'repository');
  const extra = digest === undefined ? tag : `@${digest}`;
  if (extra !== undefined)
    throw invalid(
      `parse repository ${show(text)}`,
      `it has ${digest === undefined ? `the tag ${show(extra)}` : 'a digest'} after its name; leave it out, or write a path after a host and port`,
    );
  return { host, path };
}

/** Whether the text is the full form of a repository, as `formatRepository` writes it. */
export function isRepository(text: string): boolean {
  try {
    return formatRepository(parseRepository(text)) === text;
  } catch (error) {
    if (error instanceof Failure && error.code === 'invalid') return false;
    throw error;
  }
}

function parse(text: string, what: string): Reference {
  const wrong: Wrong = (detail) => invalid(`parse ${what} ${show(text)}`, detail);
  if (text === '') throw wrong('it is empty');
  if (text.length > MAX_REFERENCE) throw wrong(`it is longer than ${MAX_REFERENCE} characters`);
  if (/\s/.test(text)) throw wrong('it has white space in it');
  if (text.includes('://')) throw wrong('it has a scheme; leave it out, as in docker.io/library/alpine:3.20');
  if (IMAGE_ID.test(text)) throw wrong('it is an image id; a registry needs a name, as in alpine@sha256:…');

  const [named, digest] = cut(text, '@');
  const fault = digest === undefined ? undefined : digestFault(digest);
  if (fault !== undefined)
    throw wrong(
      text === withoutSecrets(text)
        ? `after the @, ${show(digest)} ${fault}`
        : 'it has a user and a password before the @; leave them out, since credentials are read from files',
    );
  const { host, rest } = splitHost(named, wrong);
  const [path, tag] = cut(rest, ':');
  checkPath(path, wrong);
  if (tag !== undefined && !isTag(tag))
    throw wrong(
      `${show(tag)} is not a tag (expected 1 to 128 letters, digits, "_", "." and "-", and no "." or "-" first)`,
    );
  const repository = { host, path: host === DOCKER_HUB && !path.includes('/') ? `library/${path}` : path };
  const name = formatRepository(repository);
  if (name.length > MAX_NAME) throw wrong(`expected a name of at most ${MAX_NAME} characters, got ${name.length}`);
  return defined({ ...repository, tag, digest: digest as Digest | undefined });
}

type Wrong = (detail: string) => Failure;

function cut(text: string, separator: string): [before: string, after: string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + separator.length)];
}

/**
 * The first component is a host if it cannot be a Docker Hub user: it has a `.`, a `:` or an upper-case letter, or is
 * `localhost`. A path must follow: `localhost:5000` alone is tag 5000 of an image called localhost.
 */
function splitHost(text: string, wrong: Wrong): { host: string; rest: string } {
  const [first, rest] = cut(text, '/');
  if (rest === undefined || !(first === 'localhost' || /[.:A-Z]/.test(first))) return { host: DOCKER_HUB, rest: text };
  const host = checkHost(first, wrong);
  return { host: DOCKER_HUB_ALIASES.has(host) ? DOCKER_HUB : host, rest };
}

function checkHost(text: string, wrong: Wrong): string {
  const lower = text.toLowerCase();
  // The URL parser rejects names that only look like an address: 256.1.1.1, [:::], port 65536.
  if (!HOST.test(lower) || !URL.canParse(`https://${lower}/`))
    throw wrong(
      `${show(text)} is not a host (expected one such as registry.example.com, localhost:5000 or [::1]:5000)`,
    );
  // In lower case, the next parse would treat it as a user of Docker Hub.
  if (lower !== 'localhost' && !/[.:]/.test(lower))
    throw wrong(
      `${show(text)} is read as a host, because paths are in lower case; write ${lower} for Docker Hub, or ${lower}:443`,
    );
  return lower;
}

function checkPath(path: string, wrong: Wrong): void {
  for (const component of path.split('/')) {
    if (component === '') throw wrong('a part of its path is empty: between two slashes, at its start or at its end');
    if (/[A-Z]/.test(component)) throw wrong(`${show(component)} has upper-case letters; names are all lower case`);
    if (!COMPONENT.test(component))
      throw wrong(
        `${show(component)} is not a valid part of a name (expected lower-case letters and digits, separated by one ".", one or two "_", or any number of "-")`,
      );
    if (RESERVED.has(component))
      throw wrong(
        `${show(component)} is a reserved name: an archive has an entry of that name in the same folder, so the repository cannot be mirrored`,
      );
  }
}

/** OCI distribution spec 1.1, "Pulling manifests": `<reference>` as a tag. */
export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** Adds `latest` where one image is meant and neither tag nor digest is given. */
export function withDefaultTag(reference: Reference): Reference {
  return reference.tag === undefined && reference.digest === undefined ? { ...reference, tag: 'latest' } : reference;
}

/** The full form: `docker.io/library/alpine:3.20@sha256:…`; `parseReference` reads it back. */
export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`;
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`;
  return `${formatRepository(reference)}${tag}${digest}`;
}

/** `docker.io/library/alpine` */
export function formatRepository(repository: Repository): string {
  return `${repository.host}/${repository.path}`;
}
