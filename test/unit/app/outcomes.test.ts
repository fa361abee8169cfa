import { describe, expect, test } from 'vitest';
import { Outcomes } from '../../../lib/app/outcomes.ts';
import type { BlobEvent, ImageEvent, ListedEvent, ResolvedEvent } from '../../../lib/sync/events.ts';
import { digestFor } from '../queue/samples.ts';

const SOURCE = 'registry.example/team/app';
const NAME = { run: 'run', source: SOURCE, repository: SOURCE };
const IMAGE = { ...NAME, reference: `${SOURCE}:1.0`, tag: '1.0', digest: digestFor('1.0') };

const image = (status: ImageEvent['status'], more: Partial<ImageEvent> = {}): ImageEvent => ({
  type: 'image',
  ...IMAGE,
  status,
  ...more,
});

const all = (outcomes: Outcomes): unknown[] => [...outcomes.all({ code: 'aborted', reason: 'interrupted' })];

describe('Outcomes', () => {
  test.each(['mirrored', 'unchanged', 'failed'] as const)('reports the status %s once', (status) => {
    const outcomes = new Outcomes();
    expect(outcomes.observe(image('pending'))).toBe(true);
    expect(outcomes.observe(image(status))).toBe(true);
    for (const later of ['pending', 'mirrored', 'unchanged', 'failed'] as const)
      expect(outcomes.observe(image(later, { reason: 'later' }))).toBe(false);
    expect(all(outcomes)).toEqual([
      { reference: IMAGE.reference, repository: SOURCE, digest: IMAGE.digest, status, bytes: 0 },
    ]);
  });

  test('reports the same image in two repositories once each', () => {
    const outcomes = new Outcomes();
    expect(outcomes.observe(image('mirrored'))).toBe(true);
    expect(outcomes.observe(image('failed', { repository: 'mirror.example/app', reason: 'why' }))).toBe(true);
    expect(all(outcomes)).toMatchObject([{ status: 'mirrored' }, { status: 'failed', reason: 'why' }]);
  });

  test('keeps the first result of an image, with its code and the digest before', () => {
    const outcomes = new Outcomes();
    outcomes.observe(image('failed', { code: 'denied', reason: 'first' }));
    outcomes.observe(image('mirrored', { previous: digestFor('old') }));
    expect(all(outcomes)).toMatchObject([{ status: 'failed', code: 'denied', reason: 'first' }]);
    const moved = new Outcomes();
    moved.observe(image('mirrored', { previous: digestFor('old') }));
    expect(all(moved)).toMatchObject([{ status: 'mirrored', previous: digestFor('old') }]);
  });

  test('reports a page of tags and the missing blobs of an image once', () => {
    const outcomes = new Outcomes();
    const page: ListedEvent = { type: 'listed', ...NAME, tags: ['1.0', '1.1'] };
    const resolved: ResolvedEvent = {
      type: 'resolved',
      ...IMAGE,
      missing: 1,
      missingBytes: 9,
      blobs: [],
      fetchedBytes: 5,
    };
    expect([page, page, resolved, resolved].map((event) => outcomes.observe(event))).toEqual([
      true,
      false,
      true,
      false,
    ]);
    expect(all(outcomes)).toMatchObject([
      { reference: `${SOURCE}:1.0`, status: 'failed', code: 'aborted', reason: 'interrupted', bytes: 10 },
      { reference: `${SOURCE}:1.1`, status: 'failed' },
    ]);
  });

  test('counts the bytes of a blob as they arrive, with those of a failed attempt', () => {
    const outcomes = new Outcomes();
    outcomes.observe({ type: 'resolved', ...IMAGE, missing: 1, missingBytes: 9, blobs: [], fetchedBytes: 5 });
    const blob = (phase: BlobEvent['phase'], fetched: number): BlobEvent => ({
      type: 'blob',
      ...IMAGE,
      phase,
      blob: digestFor('blob'),
      size: 100,
      fetched,
    });
    const bytes = (): unknown => (all(outcomes)[0] as { bytes: number }).bytes;
    for (const event of [blob('started', 0), blob('progress', 30), blob('progress', 40)]) outcomes.observe(event);
    expect(bytes()).toBe(45);
    for (const event of [blob('failed', 40), blob('started', 0), blob('progress', 60)]) outcomes.observe(event);
    expect(bytes()).toBe(105);
    for (const event of [blob('verifying', 100), blob('stored', 100), blob('present', 0)]) outcomes.observe(event);
    expect(bytes()).toBe(145);
    for (const event of [blob('progress', 50), blob('progress', 20), blob('stored', 30)]) outcomes.observe(event);
    expect(bytes()).toBe(225);
  });

  test('has one warning for a repository without tags to mirror', () => {
    const outcomes = new Outcomes();
    const none: ListedEvent = { type: 'listed', ...NAME, tags: [], upstream: { count: 2, some: ['a', '\u001b[2J'] } };
    expect([none, none].map((event) => outcomes.observe(event))).toEqual([true, false]);
    const reason = '0 of 2 tags match (upstream has a, \\u001b[2J)';
    expect(outcomes.warnings).toEqual([{ source: SOURCE, repository: SOURCE, reason }]);
  });
});
