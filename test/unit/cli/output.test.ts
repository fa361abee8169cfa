import { describe, expect, test, vi } from 'vitest';
import { outputKind, type OutputOptions, printerFor } from '../../../lib/cli/output/output.ts';
import { plainPrinter } from '../../../lib/cli/output/plain-printer.ts';
import { resultOf } from '../../../lib/cli/output/plain-printer.ts';
import { summaryLines } from '../../../lib/cli/output/summary.ts';
import { NOTHING } from '../../kit/summary.ts';
import { digestFor } from '../queue/samples.ts';

const DEFAULTS: OutputOptions = { json: false, quiet: false, progress: undefined };

describe('the kind of output', () => {
  test.each([
    ['a terminal', {}, true, {}, 'bar'],
    ['a pipe', {}, false, {}, 'plain'],
    ['a terminal that is dumb', {}, true, { TERM: 'dumb' }, 'plain'],
    ['a terminal with NO_COLOR', {}, true, { NO_COLOR: '1' }, 'plain'],
    ['a terminal with an empty NO_COLOR', {}, true, { NO_COLOR: '' }, 'bar'],
    ['a terminal in CI', {}, true, { CI: 'true' }, 'plain'],
    ['a terminal where CI is off', {}, true, { CI: 'false' }, 'bar'],
    ['--progress plain', { progress: 'plain' }, true, {}, 'plain'],
    ['--progress none', { progress: 'none' }, true, {}, 'none'],
    ['--progress bar in CI', { progress: 'bar' }, true, { CI: '1', NO_COLOR: '1' }, 'bar'],
    ['--progress bar on a dumb terminal', { progress: 'bar' }, true, { TERM: 'dumb' }, 'plain'],
    ['--progress bar in a pipe', { progress: 'bar' }, false, {}, 'plain'],
    ['--quiet', { quiet: true }, true, {}, 'none'],
    ['--json', { json: true, progress: 'bar' }, true, {}, 'json'],
  ] as const)('is chosen by the options and the terminal: %s', (_, options, isTTY, env, kind) => {
    expect(outputKind({ ...DEFAULTS, ...options }, { stdout: { isTTY }, env })).toBe(kind);
  });
});

/** The output of a run with a failed image, a retry and a warning. */
function printed(options: Partial<OutputOptions>, env: Readonly<Record<string, string>> = {}) {
  let [stdout, stderr] = ['', ''];
  const printer = printerFor(
    { ...DEFAULTS, ...options },
    {
      stdout: { write: (text) => void (stdout += text), isTTY: true },
      stderr: { write: (text) => void (stderr += text) },
      env,
    },
  );
  const source = 'registry.example/app';
  const image = { run: 'run', source, repository: source, reference: `${source}:1`, tag: '1', digest: digestFor('1') };
  printer.event({ type: 'listed', run: 'run', source, repository: source, tags: ['1'] });
  printer.event({ type: 'blob', ...image, phase: 'started', blob: digestFor('b'), size: 10, fetched: 0 });
  printer.event({ type: 'blob', ...image, phase: 'progress', blob: digestFor('b'), size: 10, fetched: 5 });
  printer.event({ type: 'image', ...image, status: 'failed', code: 'denied', reason: 'no entry\u001b[2J' });
  printer.event({
    type: 'image',
    ...image,
    reference: `${source}:2`,
    status: 'mirrored',
    notes: ['one\u001b[2J', 'two'],
  });
  printer.notice('trying again\u001b[2J');
  printer.summary({
    ...NOTHING,
    failed: 1,
    elapsedMs: 100.4,
    images: [
      {
        reference: `${source}:1`,
        repository: source,
        digest: null,
        status: 'failed',
        reason: 'no entry\u001b[2J',
        bytes: 0,
      },
    ],
    warnings: [{ source: 'a.example/b', repository: 'a.example/b', reason: 'upstream has no tags' }],
  });
  printer.close();
  return { stdout, stderr };
}

const NOTED = `registry.example/app:2: mirrored  ${digestFor('1')} (2 warnings)\n`;

const SUMMARY =
  '0 mirrored, 0 unchanged, 1 failed; 0 B fetched in 0.1 s\n' +
  'warnings:\n  a.example/b: upstream has no tags\n' +
  'failed:\n  registry.example/app:1: no entry\\u001b[2J\n';

/** The lines without their times; only lines of the summary have none. */
const withoutTimes = (text: string): string => text.replaceAll(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ /gm, '');

describe('output', () => {
  test.each([{ TERM: 'dumb' }, { NO_COLOR: '1' }, { CI: 'true' }])('has no escapes if %j', (env) => {
    const { stdout, stderr } = printed({}, env);
    expect(withoutTimes(stdout)).toBe(
      `registry.example/app: 1 tag\nregistry.example/app:1: failed (denied)\n${NOTED}${SUMMARY}`,
    );
    expect(withoutTimes(stderr)).toBe('trying again\\u001b[2J\n');
  });

  test.each([
    [{}, true],
    [{ NO_COLOR: '1' }, false],
  ])('has colours with --progress bar and %j: %s', (env, expected) => {
    expect(printed({ progress: 'bar' }, env).stdout.includes('\u001b[1;31m')).toBe(expected);
  });

  test('consists of notices and the summary with --progress none', () => {
    const { stdout, stderr } = printed({ progress: 'none' });
    expect({ stdout, stderr: withoutTimes(stderr) }).toEqual({ stdout: SUMMARY, stderr: 'trying again\\u001b[2J\n' });
  });

  test('consists of the summary with its failures and warnings with --quiet', () => {
    expect(printed({ quiet: true })).toEqual({ stdout: SUMMARY, stderr: '' });
  });

  test('has every event except progress within a blob, and the summary with --json', () => {
    const { stdout } = printed({ json: true });
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string; phase?: string });
    expect(lines.map(({ type, phase = '' }) => `${type} ${phase}`.trim())).toEqual([
      'listed',
      'blob started',
      'image',
      'image',
      'summary',
    ]);
    expect(lines.at(-1)).toMatchObject({ run: 'run', failed: 1, bytes: 0, elapsedMs: 100 });
  });

  test('is the summary alone with --json --quiet', () => {
    const { stdout, stderr } = printed({ json: true, quiet: true });
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toMatchObject({ type: 'summary' });
  });
});

describe('the summary', () => {
  const reference = 'registry.example/app:1';
  const image = { reference, repository: 'registry.example/app', digest: null, status: 'failed', bytes: 0 } as const;
  const counts = { ...NOTHING, mirrored: 1, failed: 3, bytes: 97_000_000, elapsedMs: 10_000 };

  test('lists the images that policy keeps from their tags, with the reason', () => {
    const digest = digestFor('1');
    const current = digestFor('2');
    const images = [
      { ...image, digest, status: 'held', until: '2026-02-07T00:00:00.000Z' },
      { ...image, digest, status: 'drifted', current, reason: `the policy keeps it at ${current}` },
      { ...image, digest, status: 'unverified', reason: 'the image has no signature' },
      { ...image, digest, status: 'rejected', reason: 'rejected by ann: old' },
    ] as const;
    const held = {
      ...counts,
      mirrored: 0,
      held: 1,
      drifted: 1,
      unverified: 1,
      rejected: 1,
      failed: 0,
      bytes: 0,
      images,
    };
    expect(summaryLines(held).map(({ text }) => text)).toEqual([
      '0 mirrored, 0 unchanged, 1 held, 1 unverified, 1 drifted, 1 rejected, 0 failed; 0 B fetched in 10.0 s',
      'not visible in the archive:',
      `  ${reference}: held until 2026-02-07T00:00:00.000Z`,
      `  ${reference}: drifted from ${current} to ${digest}`,
      `  ${reference}: unverified: the image has no signature`,
      `  ${reference}: rejected by ann: old`,
    ]);
  });

  test('names each digest of a drifted tag once, as does the line of the result', () => {
    const [digest, current] = [digestFor('1'), digestFor('2')];
    const reason = `upstream has moved the tag to ${digest}, and the policy keeps it at ${current}`;
    const { repository } = image;
    const drifted = {
      type: 'image',
      run: 'run',
      source: repository,
      repository,
      reference,
      status: 'drifted',
    } as const;
    expect(resultOf({ ...drifted, digest, current, reason })).toBe(
      `${reference}: drifted  ${digest} (the tag stays at ${current})`,
    );
  });

  test('counts interrupted images apart from failed ones, and does not list them', () => {
    const interrupted = { ...image, code: 'aborted', reason: 'interrupted' };
    const images = [interrupted, { ...image, code: 'denied', reason: 'no entry' }, interrupted];
    expect(summaryLines({ ...counts, images }).map(({ text }) => text)).toEqual([
      '1 mirrored, 0 unchanged, 2 interrupted, 1 failed; 97.0 MB fetched in 10.0 s, 9.7 MB/s',
      'interrupted: 2 images; run the same command again to continue',
      'failed:',
      `  ${reference}: no entry`,
    ]);
  });
});

describe('plain output', () => {
  test('has the time before each result, and a line of progress every half minute', () => {
    vi.useFakeTimers({ now: Date.UTC(2026, 0, 31) });
    try {
      let stdout = '';
      const out = { write: (text: string) => void (stdout += text) };
      const printer = plainPrinter(out, out);
      const source = 'registry.example/app';
      const image = { run: 'run', source, repository: source, reference: `${source}:1`, tag: '1' };
      printer.expect(image);
      printer.expect({ ...image, reference: `${source}:2` });
      vi.advanceTimersByTime(1_000);
      printer.event({ type: 'image', ...image, status: 'unchanged' });
      vi.advanceTimersByTime(59_000);
      printer.close();
      vi.advanceTimersByTime(60_000);
      expect(stdout).toBe(
        `2026-01-31T00:00:01Z ${source}:1: unchanged\n` +
          '2026-01-31T00:00:30Z 1 of 2 images\n' +
          '2026-01-31T00:01:00Z 1 of 2 images\n',
      );
    } finally {
      vi.useRealTimers();
    }
  });
});
