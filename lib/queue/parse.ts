import { Failure } from '../core/failure.ts';
import { defined } from '../core/defined.ts';
import { instantFault } from '../core/instant.ts';
import { ALGORITHMS, type Digest } from '../oci/digest.ts';
import { Place } from '../oci/document.ts';
import type { Platform } from '../oci/platform.ts';
import { formatRepository, isTag, parseRepository } from '../oci/reference.ts';
import { show } from '../oci/show.ts';
import { parsePolicy } from '../policy/policy.ts';
import {
  CHANGE_VERSION,
  type FinalizeMessage,
  type Image,
  type LayerMessage,
  MESSAGE_VERSION,
  type Message,
  type Order,
  type RecordedFailure,
  type ReferrerCheck,
  type RepositoryChange,
  type ResolveMessage,
  type Verified,
  type Wanted,
} from './messages.ts';

/**
 * Bytes of a serialised message. SQS takes 1 MiB since August 2025, but a queue may have a lower limit, and compatible
 * servers often still stop at 256 KiB. The largest real message, a hundred tags of 128 characters with their digests,
 * has a tenth of that; SQS bills units of 64 KiB.
 */
export const MAX_MESSAGE_BYTES = 256 * 1024;

/** No list in a message can have more elements than the message has bytes. */
const ANY_LENGTH = MAX_MESSAGE_BYTES;

/**
 * Parses a message from a queue. Every known field is validated, so that later code need not.
 *
 * Messages of other releases are read by decision 0013: an unknown field is ignored, since releases may add hints; an
 * unknown version or choice is `unsupported`, so that the message waits for a release that knows it.
 *
 * @param now milliseconds since the epoch; a message with a later observation is refused
 * @throws {Failure} `unsupported`, `too-large`, `too-deep`, or `invalid` with the path of the field
 */
export function parseMessage(text: string, now: number = Date.now()): Message {
  if (text.length > MAX_MESSAGE_BYTES) throw tooLarge('read message', text.length);
  const place = new Place('read message', '', text).json();
  // The version is checked first, since another version may have changed everything else.
  const version = place.at('version');
  if (version.integer() === CHANGE_VERSION) return readChangeMessage(place, now);
  if (version.integer() !== MESSAGE_VERSION) {
    const known = `${MESSAGE_VERSION} and ${CHANGE_VERSION}`;
    throw version.fail(`is ${version.integer()}, and this release knows only ${known}`, 'unsupported');
  }
  switch (oneOf(place.at('type'), ['resolve', 'layer', 'finalize'])) {
    case 'resolve':
      return readResolve(place);
    case 'layer':
      return readLayer(place, now);
    case 'finalize':
      return readFinalize(place, now);
  }
}

/**
 * A message for a queue, in ASCII: SQS refuses some characters that JSON allows (U+FFFE, U+FFFF), and counts bytes.
 *
 * @throws {Failure} `too-large`
 */
export function serialise(message: Message): string {
  const text = JSON.stringify(message).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  if (text.length > MAX_MESSAGE_BYTES) throw tooLarge('write message', text.length);
  return text;
}

function tooLarge(operation: string, bytes: number): Failure {
  const detail = `its ${bytes} bytes are more than the ${MAX_MESSAGE_BYTES} that a queue takes`;
  return new Failure({ operation, side: 'input', code: 'too-large', detail });
}

function readResolve(place: Place): ResolveMessage {
  const next = place.at('next').optional(readId);
  return defined({ ...readOrder(place), type: 'resolve', what: readWhat(place.at('what')), next });
}

function readId(place: Place): string {
  const id = place.text();
  if (!/^[0-9a-f]{64}$/.test(id)) throw place.fail(`must be 64 hex digits, not ${show(id)}`);
  return id;
}

function readWhat(place: Place): ResolveMessage['what'] {
  const kind = oneOf(place.at('kind'), ['list', 'images', 'checks']);
  if (kind === 'list') return { kind };
  if (kind === 'checks')
    return defined({ kind, announced: place.at('announced').optional((given) => some(given).map(readWanted)) });
  // Earlier releases also state whether these are all images of the run, which this release ignores.
  const images = some(place.at('images')).map(readWanted);
  return place.at('listed').optionalFlag() ? { kind, images, listed: true } : { kind, images };
}

/** Earlier releases also send `nothing`, with which the first message of a run did not request the receipt. */
const LOOKS = ['receipt', 'everything', 'nothing'] as const;

function readLayer(place: Place, now: number): LayerMessage {
  const blob = place.at('blob');
  return defined({
    ...readOrder(place),
    type: 'layer',
    image: readImage(place.at('image'), now),
    blob: defined({
      digest: blob.at('digest').digest(),
      mediaType: blob.at('mediaType').mediaType(),
      size: blob.at('size').optional((size) => size.size()),
      urls: readTexts(blob.at('urls')),
      diffIds: blob
        .at('diffIds')
        .optionalList(ANY_LENGTH)
        ?.map((algorithm) => oneOf(algorithm, ALGORITHMS)),
    }),
    look: oneOf(place.at('look'), LOOKS) === 'everything' ? 'everything' : 'receipt',
    continuation: place.at('continuation').size(),
    stalled: place.at('stalled').optional((stalled) => stalled.size()),
  });
}

function readFinalize(place: Place, now: number): FinalizeMessage {
  const image = place.at('image');
  const found = image.at('observed').given;
  const failure = place.at('failure').optional(readFailure);
  if (!found && failure === undefined)
    throw place.at('failure').fail('is missing; an image that was not found needs it');
  const checks = place.at('checks').optionalList(ANY_LENGTH);
  return defined({
    ...readOrder(place),
    type: 'finalize',
    // If the tags of a repository could not be listed, the message names no tag.
    image: found ? readImage(image, now) : readName(image),
    failure,
    checks: checks?.map((check) => readCheck(check, now)),
    attest: place.at('attest').optionalList(ANY_LENGTH)?.map(readWanted),
  });
}

/** Version 2 contains only changes. */
function readChangeMessage(place: Place, now: number): FinalizeMessage {
  const type = oneOf(place.at('type'), ['finalize']);
  const change = readChange(place.at('change'), now);
  return { ...readOrder(place), version: CHANGE_VERSION, type, image: {}, change };
}

function readChange(place: Place, now: number): RepositoryChange {
  const policy = place.at('policy');
  return policy.given ? { policy: parsePolicy(policy) } : { completed: readTime(place.at('completed'), now) };
}

function readCheck(place: Place, now: number): ReferrerCheck {
  const tag = place.at('tag').optional(readTag);
  const at = readTime(place.at('at'), now);
  return defined({ tag, digest: place.at('digest').digest(), at, awaited: readDigests(place.at('awaited')) });
}

function readFailure(place: Place): RecordedFailure {
  const current = place.at('current').optional((digest) => digest.digest());
  return defined({ code: place.at('code').text(), reason: place.at('reason').text(), current });
}

function readOrder(place: Place): Order & { readonly version: typeof MESSAGE_VERSION } {
  return defined({
    version: MESSAGE_VERSION,
    run: readRun(place.at('run')),
    source: readRepository(place.at('source')),
    repository: readRepository(place.at('repository')),
    platforms: readPlatforms(place.at('platforms')),
    foreignLayers: place.at('foreignLayers').optional((choice) => oneOf(choice, ['skip'])),
    strictMediaTypes: place.at('strictMediaTypes').optionalFlag() ? true : undefined,
  });
}

/** Whether a text may be the name of a run, which is a part of keys in the archive. */
export function isRun(text: string): boolean {
  return /^[A-Za-z0-9-]{1,128}$/.test(text);
}

export function readRun(place: Place): string {
  const run = place.text();
  if (!isRun(run)) throw place.fail(`must be letters, digits and -, not ${show(run)}`);
  return run;
}

/** Names become keys and groups, so two spellings of one repository would be two repositories. */
export function readRepository(place: Place): string {
  const name = place.text();
  let normalised: string;
  try {
    normalised = formatRepository(parseRepository(name));
  } catch (error) {
    throw place.fail((error as Failure).message);
  }
  if (normalised !== name) throw place.fail(`must be normalised, ${normalised}, not ${show(name)}`);
  return name;
}

function readPlatforms(place: Place): Order['platforms'] {
  return place.given && !place.isList ? oneOf(place, ['all']) : some(place).map(readPlatform);
}

function readPlatform(place: Place): Platform {
  return defined({
    os: place.at('os').text(),
    architecture: place.at('architecture').text(),
    variant: place.at('variant').optional((variant) => variant.text()),
    osVersion: place.at('osVersion').optional((version) => version.text()),
    osFeatures: readTexts(place.at('osFeatures')),
  });
}

function readImage(place: Place, now: number): Image {
  return defined({
    digest: place.at('digest').digest(),
    mediaType: place.at('mediaType').mediaType(),
    size: place.at('size').size(),
    tag: place.at('tag').optional(readTag),
    asked: place.at('asked').optional(readWanted),
    note: place.at('note').optional((note) => note.text()),
    notes: readTexts(place.at('notes')),
    observed: readTime(place.at('observed'), now),
    largest: place.at('largest').optional((largest) => largest.digest()),
    verified: place.at('verified').optional(readVerified),
    unverified: place.at('unverified').optional((reason) => reason.text()),
    signers: place.at('signers').optional((signers) => signers.text()),
    lost: readDigests(place.at('lost')),
    subject: place.at('subject').optional((subject) => subject.digest()),
    root: place.at('root').optional(readWanted),
    checked: place.at('checked').optional((checked) => readTime(checked, now)),
    awaited: readDigests(place.at('awaited')),
  });
}

function readTexts(place: Place): readonly string[] | undefined {
  return place.optionalList(ANY_LENGTH)?.map((each) => each.text());
}

function readDigests(place: Place): readonly Digest[] | undefined {
  return place.optionalList(ANY_LENGTH)?.map((each) => each.digest());
}

/** The time is that of a log, whose clock may be ahead of this one. */
function readVerified(place: Place): Verified {
  return defined({ by: place.at('by').text(), at: place.at('at').optional((at) => readTime(at, Infinity)) });
}

function readTime(place: Place, now: number): number {
  const time = place.integer();
  const fault = time < 0 ? `must be a time from 1970 on, in milliseconds, not ${time}` : instantFault(time, now);
  if (fault !== undefined) throw place.fail(fault);
  return time;
}

function readWanted(place: Place): Wanted {
  const wanted = readName(place);
  if (wanted.tag === undefined && wanted.digest === undefined) throw place.fail('must have a tag, a digest, or both');
  return wanted;
}

function readName(place: Place): Wanted {
  const tag = place.at('tag').optional(readTag);
  const digest = place.at('digest').optional((given) => given.digest());
  return defined({ tag, digest });
}

function readTag(place: Place): string {
  const tag = place.text();
  if (!isTag(tag)) throw place.fail(`must be a tag, not ${show(tag)}`);
  return tag;
}

function some(place: Place): Place[] {
  const elements = place.list(ANY_LENGTH);
  if (elements.length === 0) throw place.fail('must not be empty');
  return elements;
}

/** A later release may add a choice, so a message with an unknown choice waits. */
function oneOf<const T extends string>(place: Place, choices: readonly T[]): T {
  const text = place.text();
  const choice = choices.find((each) => each === text);
  if (choice === undefined) throw place.fail(`must be one of ${choices.join(', ')}, not ${show(text)}`, 'unsupported');
  return choice;
}
