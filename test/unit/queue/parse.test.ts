import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Failure } from '../../../lib/core/failure.ts';
import type { FinalizeMessage, LayerMessage, ResolveMessage } from '../../../lib/queue/messages.ts';
import { MAX_MESSAGE_BYTES, parseMessage, serialise } from '../../../lib/queue/parse.ts';
import { anyMessage, digestFor, IMAGE, LAYER, ORDER } from './samples.ts';

const resolve: ResolveMessage = {
  version: 1,
  type: 'resolve',
  ...ORDER,
  what: { kind: 'images', images: [{ tag: '3.20' }, { digest: digestFor('root') }] },
};
const layer: LayerMessage = {
  version: 1,
  type: 'layer',
  ...ORDER,
  platforms: [{ os: 'linux', architecture: 'arm', variant: 'v7' }],
  image: IMAGE,
  blob: { digest: digestFor('layer'), mediaType: LAYER, size: 10 },
  look: 'receipt',
  continuation: 0,
};
const finalize: FinalizeMessage = { version: 1, type: 'finalize', ...ORDER, image: IMAGE };
const FAILURE = { code: 'denied', reason: 'no' };

function failureOf(text: string): Failure {
  try {
    parseMessage(text);
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

/** The message with the field at a path set to a value, or removed. */
function changed(message: object, path: readonly (string | number)[], value: unknown): string {
  const copy = structuredClone(message) as Record<string | number, unknown>;
  let place = copy;
  for (const key of path.slice(0, -1)) place = place[key] as Record<string | number, unknown>;
  place[path.at(-1) ?? ''] = value;
  return JSON.stringify(copy);
}

describe('a sent message', () => {
  test('is read with the same fields, for every kind of message', () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        expect(parseMessage(serialise(message))).toEqual(message);
      }),
    );
  });

  test('may be a failure of a whole repository, without an image', () => {
    const message = { ...finalize, image: {}, failure: { code: 'name-unknown', reason: 'list tags: unknown' } };
    expect(parseMessage(serialise(message))).toEqual(message);
    expect(failureOf(JSON.stringify({ ...finalize, image: {} })).message).toMatch(/failure: is missing/);
  });

  test('of a layer keeps its count of stalled continuations, and has none if the sender omitted it', () => {
    expect(parseMessage(serialise({ ...layer, stalled: 1 }))).toEqual({ ...layer, stalled: 1 });
    expect(parseMessage(serialise(layer))).not.toHaveProperty('stalled');
  });

  // SQS refuses U+FFFF and lone surrogates, and counts bytes.
  test('contains only ASCII', () => {
    const reason = 'Zürich \u0000\u007f\uffff \ud800 😀';
    const text = serialise({ ...finalize, failure: { code: 'denied', reason } });
    expect(text).toMatch(/^[\x20-\x7e]+$/);
    expect(parseMessage(text)).toMatchObject({ failure: { reason } });
  });

  // A hostile manifest may list megabytes of URLs for a layer.
  test('is refused if it is larger than a queue accepts', () => {
    const urls = ['https://example.com/'.padEnd(MAX_MESSAGE_BYTES, 'x')];
    const message = { ...layer, blob: { ...layer.blob, urls } };
    expect(() => serialise(message)).toThrow(expect.objectContaining({ code: 'too-large', remedy: 'never' }));
    expect(failureOf(JSON.stringify(message)).code).toBe('too-large');
  });
});

describe('an invalid message is refused with the place and the problem', () => {
  test.each([
    ['not JSON', 'nonsense', /read message: is not JSON/],
    ['not an object', '[]', /must be an object/],
    ['no version', changed(resolve, ['version'], undefined), /version: is missing/],
    ['a run with a slash', changed(resolve, ['run'], '../x'), /run: must be letters, digits and -/],
    [
      'an unnormalised source',
      changed(resolve, ['source'], 'alpine'),
      /source: must be normalised, docker\.io\/library\/alpine/,
    ],
    ['a source with a tag', changed(resolve, ['source'], 'docker.io/library/alpine:3'), /source: .*tag/],
    ['a repository that climbs', changed(resolve, ['repository'], 'quay.io/../x'), /repository: /],
    ['no platforms', changed(layer, ['platforms'], []), /platforms: must not be empty/],
    ['missing platforms', changed(layer, ['platforms'], undefined), /platforms: is missing/],
    ['platforms that are a number', changed(layer, ['platforms'], 1), /platforms: must be a string/],
    ['a platform without os', changed(layer, ['platforms', 0, 'os'], undefined), /platforms\[0\]\.os: is missing/],
    ['a next message that is not an id', changed(resolve, ['next'], 'x'), /next: must be 64 hex digits, not "x"/],
    ['no images', changed(resolve, ['what', 'images'], []), /what\.images: must not be empty/],
    [
      'an image without a name',
      changed(resolve, ['what', 'images', 1], {}),
      /what\.images\[1\]: must have a tag, a digest/,
    ],
    [
      'a tag that is none',
      changed(resolve, ['what', 'images', 0, 'tag'], '-x'),
      /what\.images\[0\]\.tag: must be a tag/,
    ],
    ['an image digest', changed(layer, ['image', 'digest'], 'sha256:ab'), /image\.digest: .*characters/],
    ['the largest blob', changed(layer, ['image', 'largest'], 'md5:ab'), /image\.largest: /],
    ['a size with a fraction', changed(layer, ['image', 'size'], 1.5), /image\.size: must be a whole number/],
    ['no time', changed(layer, ['image', 'observed'], undefined), /image\.observed: /],
    ['a blob without a type', changed(layer, ['blob', 'mediaType'], ''), /blob\.mediaType: must be a media type/],
    ['a URL', changed(layer, ['blob', 'urls'], [1]), /blob\.urls\[0\]: must be a string/],
    ['a continuation', changed(layer, ['continuation'], -1), /continuation: must be a whole number/],
    ['stalled continuations', changed(layer, ['stalled'], -1), /stalled: must be a whole number/],
    ['stalled continuations as text', changed(layer, ['stalled'], '1'), /stalled: must be a whole number/],
    ['nothing to finalize', changed(finalize, ['image'], { tag: '3.20' }), /failure: is missing/],
    ['a failure without reason', changed(finalize, ['failure'], { code: 'denied' }), /failure\.reason: is missing/],
  ])('for %s', (_what, text, complaint) => {
    const failure = failureOf(text);
    expect(failure.message).toMatch(complaint);
    expect(failure).toMatchObject({ code: 'invalid', remedy: 'never' });
  });

  test.each([
    ['no time that Date holds', Number.MAX_SAFE_INTEGER, /image\.observed: is not a whole number of milliseconds/],
    ['a time before the epoch', -1, /image\.observed: must be a time from 1970 on, in milliseconds, not -1/],
    ['a time with a fraction', 1.5, /image\.observed: must be a whole number/],
    ['the year 9999', Date.UTC(9999, 0), /image\.observed: is 9999-01-01T00:00:00\.000Z, more than 15 minutes after/],
  ])('for %s', (_what, observed, complaint) => {
    for (const message of [layer, finalize]) {
      const failure = failureOf(changed(message, ['image', 'observed'], observed));
      expect(failure.message).toMatch(complaint);
      expect(failure).toMatchObject({ code: 'invalid' });
    }
  });

  test('except for a clock of the sender that is up to 15 minutes fast', () => {
    const now = Date.UTC(2026, 0);
    const at = (ms: number): string => changed(finalize, ['image', 'observed'], now + ms);
    expect(parseMessage(at(15 * 60_000), now)).toMatchObject({ image: { observed: now + 15 * 60_000 } });
    expect(() => parseMessage(at(15 * 60_000 + 1), now)).toThrow(/more than 15 minutes after/);
  });
});

describe('messages of other releases', () => {
  test.each([
    ['the message', changed(layer, ['priority'], 1), layer],
    ['the image', changed(layer, ['image', 'signature'], { by: 'cosign' }), layer],
    ['the blob', changed(layer, ['blob', 'hints'], {}), layer],
    ['a platform', changed(layer, ['platforms', 0, 'cpu'], 'm1'), layer],
    ['the work', changed(resolve, ['what', 'after'], 'v1'), resolve],
    ['a wanted image', changed(resolve, ['what', 'images', 0, 'mediaType'], 'x'), resolve],
    [
      'the failure',
      changed({ ...finalize, failure: FAILURE }, ['failure', 'side'], 'source'),
      { ...finalize, failure: FAILURE },
    ],
  ])('may have an unknown field of %s, which is ignored', (_what, text, expected) => {
    expect(parseMessage(text)).toEqual(expected);
  });

  test.each([
    ['type', changed(resolve, ['type'], 'solve'), 'type: must be one of resolve, layer, finalize, not "solve"'],
    ['platforms', changed(layer, ['platforms'], 'native'), 'platforms: must be one of all, not "native"'],
    ['foreignLayers', changed(layer, ['foreignLayers'], 'hosts'), 'foreignLayers: must be one of skip, not "hosts"'],
    ['work', changed(resolve, ['what', 'kind'], 'new'), 'what.kind: must be one of list, images, checks, not "new"'],
    ['look', changed(layer, ['look'], 'twice'), 'look: must be one of receipt, everything, nothing, not "twice"'],
  ])('with an unknown choice of %s are unsupported', (_what, text, reason) => {
    expect(failureOf(text)).toMatchObject({ code: 'unsupported', message: `read message: ${reason}` });
  });

  test('of another version are unsupported, whatever else they contain', () => {
    const failure = failureOf(JSON.stringify({ version: 3, type: 'something new' }));
    expect(failure).toMatchObject({ code: 'unsupported', remedy: 'never' });
    expect(failure.message).toBe('read message: version: is 3, and this release knows only 1 and 2');
  });
});

describe('parsing throws only Failures', () => {
  const isFailureOrFine = (text: string): void => {
    try {
      parseMessage(text);
    } catch (error) {
      expect(error).toBeInstanceOf(Failure);
    }
  };

  test('for any text and any JSON', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), isFailureOrFine));
    isFailureOrFine('['.repeat(100_000) + ']'.repeat(100_000));
  });

  test('for any value in any field', () => {
    const broken = fc.tuple(anyMessage, fc.nat(), fc.jsonValue()).map(([message, at, value]) => {
      let visits = 0;
      const fields = JSON.stringify(message).split(/[{,]/).length;
      return JSON.stringify(message, (_key, part: unknown) => (visits++ === at % (fields + 1) ? value : part));
    });
    fc.assert(fc.property(broken, isFailureOrFine), { numRuns: 500 });
  });
});
