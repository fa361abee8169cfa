import { describe, expect, test } from 'vitest';
import { type Limits, Quota } from '../../../lib/sync/resolver/quota.ts';
import { digestFor } from '../queue/samples.ts';

const blob = (name: string, size?: number) => ({
  digest: digestFor(name),
  mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
  ...(size === undefined ? {} : { size }),
});

const quota = (limits: Limits): Quota => new Quota(limits);

describe('Quota', () => {
  test('refuses nothing without limits', () => {
    const none = quota({});
    none.size('a', [blob('x', Number.MAX_SAFE_INTEGER)]);
    none.fetch('a', [blob('x', Number.MAX_SAFE_INTEGER)]);
    for (let i = 0; i < 100; i += 1) none.image(`a:${i}`);
    expect(none.tags).toBe(Infinity);
  });

  test('refuses an image with more bytes than the limit, and accepts one with exactly as many', () => {
    const some = quota({ imageBytes: 10 });
    some.size('a', [blob('x', 4), blob('y', 6), blob('z')]);
    expect(() => {
      some.size('a', [blob('x', 4), blob('y', 7)]);
    }).toThrow(
      expect.objectContaining({
        code: 'limit-exceeded',
        side: 'source',
        remedy: 'never',
        message: 'mirror a: it has 11 bytes; limits.imageBytes allows 10',
      }),
    );
  });

  test('refuses the image after the limit, and counts a repeated image once', () => {
    const some = quota({ runImages: 2 });
    for (const name of ['a', 'b', 'a', 'b']) some.image(name);
    expect(() => {
      some.image('c');
    }).toThrow('mirror c: the run has 2 images already; limits.runImages allows no more');
    some.image('a');
  });

  test('counts each missing blob once, and ignores refused images', () => {
    const some = quota({ runBytes: 10 });
    some.fetch('a', [blob('base', 6)]);
    some.fetch('b', [blob('base', 6), blob('b', 3)]);
    expect(() => {
      some.fetch('c', [blob('base', 6), blob('c', 2)]);
    }).toThrow('mirror c: it lacks 2 bytes, and the run has asked for 9; limits.runBytes allows 10');
    some.fetch('d', [blob('d', 1)]);
    some.fetch('c', [blob('b', 3)]);
  });
});
