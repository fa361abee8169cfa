/** Creates messages for the resolver from the configuration or a request. */
import { invalid } from '../core/failure.ts';
import { type Config, type Mirror, mirrorsOf } from '../config/mirrors.ts';
import { closest } from '../core/suggest.ts';
import { formatRepository, parseReference, type Reference } from '../oci/reference.ts';
import { type Order, type ResolveMessage, SLICE, type Wanted } from '../queue/messages.ts';
import { resolveMessage, sliceMessages } from '../queue/outgoing.ts';
import type { Outgoing } from '../queue/queue.ts';

/** The maximum number of references in one manual request. */
const MAX_REFERENCES = 1_000;

/** The messages for the whole configuration; tags are listed upstream unless the configuration lists them. */
export function ordersOf(config: Config, run: string): Outgoing<ResolveMessage>[] {
  return config.mirrors.flatMap((mirror) => {
    const order = orderOf(mirror, run);
    if (mirror.tags.kind !== 'listed') return [resolveMessage(order, { kind: 'list' })];
    return slices(
      order,
      mirror.tags.tags.map((tag) => ({ tag })),
    );
  });
}

/**
 * The messages for the references within a configuration. A name without a tag selects the repository with its configured
 * tags, and a name with a tag or a digest selects that image. The configuration determines platforms and destinations.
 *
 * @throws Failure `invalid` for a reference whose repository is not configured
 */
export function ordersOfSome(
  config: Config,
  references: readonly Reference[],
  run: string,
): Outgoing<ResolveMessage>[] {
  const sources = config.mirrors.map(({ source }) => source);
  for (const source of new Set(references.map(formatRepository)))
    if (!sources.includes(source)) throw invalid(`select ${source}`, notConfigured(source, sources));
  const isWhole = (reference: Reference): boolean => wantedOf(reference) === undefined;
  const whole = new Set(references.filter(isWhole).map(formatRepository));
  const images = references.filter((reference) => !isWhole(reference));
  const single = ordersTo(images, (source) => mirrorsOf(config, source).map((mirror) => orderOf(mirror, run)));
  if (whole.size === 0) return single;
  return [
    ...ordersOf({ ...config, mirrors: config.mirrors.filter(({ source }) => whole.has(source)) }, run),
    ...single,
  ];
}

/** The number of sources in an error message. */
const SOME_SOURCES = 5;

function notConfigured(source: string, sources: readonly string[]): string {
  const meant = closest(source, sources);
  if (meant !== undefined) return `it is not in the configuration; did you mean ${meant}?`;
  const some = [...new Set(sources)].slice(0, SOME_SOURCES);
  return `it is not in the configuration, which has ${some.join(', ')}${sources.length > some.length ? ', …' : ''}`;
}

/**
 * The messages for a manual request: `{"references": ["docker.io/library/alpine:3.20", …]}`. A name without a tag means all tags.
 * For a configured repository, the configuration selects the tags, the platforms and the destination.
 *
 * @throws Failure `invalid` with the problem
 */
export function ordersFor(request: unknown, config: Config, run: string): Outgoing<ResolveMessage>[] {
  return ordersTo(referencesOf(request), (source) => {
    const mirrors = mirrorsOf(config, source);
    if (mirrors.length > 0) return mirrors.map((mirror) => orderOf(mirror, run));
    return [{ run, source, repository: source, platforms: 'all' }];
  });
}

/** The messages for references: a name without a tag lists all tags, and the images of a repository share a message. */
export function ordersTo(
  references: readonly Reference[],
  ordersFrom: (source: string) => readonly Order[],
): Outgoing<ResolveMessage>[] {
  const byRepository = Map.groupBy(references, formatRepository);
  return [...byRepository].flatMap(([source, wanted]) =>
    ordersFrom(source).flatMap((order) => {
      const images = wanted.flatMap((reference) => wantedOf(reference) ?? []);
      const all = images.length < wanted.length ? [resolveMessage(order, { kind: 'list' })] : [];
      return [...all, ...slices(order, images)];
    }),
  );
}

function referencesOf(request: unknown): Reference[] {
  const operation = 'read request';
  const example = 'send {"references": ["docker.io/library/alpine:3.20"]}';
  if (typeof request !== 'object' || request === null) throw invalid(operation, `expected an object; ${example}`);
  const { references, ...others } = request as Record<string, unknown>;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw invalid(operation, `unknown field ${JSON.stringify(unknown)}; ${example}`);
  if (!Array.isArray(references) || references.length === 0) throw invalid(operation, `no references; ${example}`);
  if (references.length > MAX_REFERENCES)
    throw invalid(operation, `expected at most ${MAX_REFERENCES} references, got ${references.length}`);
  return references.map((text: unknown) => {
    if (typeof text !== 'string')
      throw invalid(operation, `expected a string as the reference, got ${JSON.stringify(text)}`);
    return parseReference(text);
  });
}

/** The settings of a mirror without its tags. */
export function orderOf({ tags: _, ...mirror }: Mirror, run: string): Order {
  return { run, ...mirror };
}

function wantedOf({ tag, digest }: Reference): Wanted | undefined {
  if (tag === undefined && digest === undefined) return undefined;
  return { ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) };
}

/** Several slices have one message that checks their unchanged images for referrers, and so one write. */
function slices(order: Order, images: readonly Wanted[]): Outgoing<ResolveMessage>[] {
  if (images.length === 0) return [];
  if (images.length <= SLICE) return [resolveMessage(order, { kind: 'images', images })];
  return [...sliceMessages(order, images), resolveMessage(order, { kind: 'checks' })];
}
