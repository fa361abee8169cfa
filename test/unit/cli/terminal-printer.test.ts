import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { terminalPrinter } from '../../../lib/cli/output/terminal-printer.ts';
import type { BlobEvent, ImageEvent } from '../../../lib/sync/events.ts';
import { digestOf } from '../../../lib/oci/digest.ts';
import { NOTHING } from '../../kit/summary.ts';

/** The part of a terminal that the printer uses: the screen, and the lines that have scrolled off it. */
class Screen {
  readonly isTTY = true;
  readonly columns: number;
  readonly rows: number;
  readonly #lines = [''];
  #row = 0;

  constructor(columns: number, rows: number) {
    this.columns = columns;
    this.rows = rows;
  }

  write(text: string): void {
    for (const [token, up] of text.matchAll(/\p{Cc}\[(\d+)A|\p{Cc}\[J|\r|\n|\P{Cc}+/gu)) {
      const top = Math.max(0, this.#lines.length - this.rows);
      if (up !== undefined) this.#row = Math.max(top, this.#row - Number(up));
      else if (token === '\u001b[J') this.#lines.splice(this.#row, Infinity, '');
      else if (token === '\n') {
        this.#row += 1;
        this.#lines[this.#row] ??= '';
      } else if (token !== '\r') this.#print(token);
    }
  }

  #print(text: string): void {
    const chunks = text.match(new RegExp(`.{1,${this.columns}}`, 'gu')) ?? [];
    for (const [i, chunk] of chunks.entries()) {
      if (i > 0) this.#row += 1;
      this.#lines[this.#row] = chunk;
    }
  }

  get lines(): readonly string[] {
    return this.#lines.slice(0, -1);
  }
}

const SOURCE = 'registry.example/team/app';
const found = { run: 'run', source: SOURCE, tag: '1.0' };
const image = { ...found, repository: SOURCE, reference: `${SOURCE}:1.0` };
const blobOf = (seed: number) => digestOf(Buffer.from(`blob ${seed}`));
const short = (seed: number): string => blobOf(seed).slice(7, 19);

function blob(seed: number, phase: BlobEvent['phase'], fetched = 0): BlobEvent {
  return { type: 'blob', ...found, phase, blob: blobOf(seed), size: 2_000_000, fetched };
}

function ended(status: ImageEvent['status'], reason?: string): ImageEvent {
  return { type: 'image', ...image, status, ...(reason === undefined ? {} : { reason }) };
}

let now = 0;
const redraw = (): void => {
  now += 100;
  vi.advanceTimersByTime(100);
};

beforeEach(() => {
  now = 0;
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
});

afterEach(() => {
  vi.useRealTimers();
});

const missing = [1, 2].map((seed) => ({ digest: blobOf(seed), size: 2_000_000 }));

test('each blob has a line with bar, size, rate and image, and the last line shows the run', () => {
  const screen = new Screen(80, 24);
  const printer = terminalPrinter(screen, { now: () => now, hasColour: false });
  printer.expect(image);
  printer.event({
    type: 'resolved',
    ...image,
    missing: 2,
    missingBytes: 4_000_000,
    blobs: missing,
    fetchedBytes: 500,
  });
  printer.event(blob(1, 'started'));
  printer.event(blob(2, 'started'));
  redraw();
  printer.event(blob(1, 'progress', 1_000_000));
  printer.event(blob(2, 'progress', 500_000));
  redraw();
  expect(screen.lines).toEqual([
    `${short(1)} [=======>      ] 1.0 MB of 2.0 MB  5.0 MB/s  …example/team/app:1.0`,
    `${short(2)} [===>          ] 500 kB of 2.0 MB  2.5 MB/s  …example/team/app:1.0`,
    `[=========>${' '.repeat(14)}] 0 of 1 image, 1.5 MB of 4.0 MB, 15.0 MB/s, 1 s left`,
  ]);
  printer.event(blob(1, 'stored', 2_000_000));
  printer.event(blob(2, 'progress', 2_000_000));
  redraw();
  expect(screen.lines[0]).toBe(`${short(2)} [==============] 2.0 MB  verifying  registry.example/team/app:1.0`);
  printer.event(blob(2, 'stored', 2_000_000));
  printer.event({ ...ended('mirrored'), digest: blobOf(0) });
  printer.summary({ ...NOTHING, mirrored: 1, elapsedMs: 400 });
  printer.close();
  expect(screen.lines).toEqual([
    `${SOURCE}:1.0: mirrored  ${short(0)}`,
    '1 mirrored, 0 unchanged, 0 failed; 0 B fetched in 0.4 s',
  ]);
  expect(vi.getTimerCount()).toBe(0);
});

test.each([20, 40, 60, 80, 120])('no line is wider than a terminal of %d columns', (columns) => {
  const screen = new Screen(columns, 24);
  const written = vi.spyOn(screen, 'write');
  const printer = terminalPrinter(screen, { now: () => now, hasColour: false });
  printer.expect(image);
  printer.event(blob(1, 'started'));
  printer.event(blob(2, 'progress', 1_234_567));
  printer.event(blob(3, 'verifying', 2_000_000));
  redraw();
  printer.event({ ...ended('mirrored'), digest: blobOf(0), previous: blobOf(1) });
  printer.notice('the registry limits requests; trying again in 30.0 s, and a few more words');
  const outcome = {
    ...image,
    digest: null,
    status: 'failed',
    reason: 'some words '.repeat(20).trim(),
    bytes: 0,
  } as const;
  printer.summary({ ...NOTHING, failed: 1, images: [outcome] });
  printer.close();
  const lines = written.mock.calls.flatMap(([text]) => text.replaceAll(/\p{Cc}\[(?:J|\d+A)|\r/gu, '').split('\n'));
  expect(lines.length).toBeGreaterThan(10);
  // A word that is longer than the terminal is not broken.
  for (const line of lines) if (/\S \S/.test(line)) expect(line.length, line).toBeLessThan(columns);
});

test('a failure is red, in its line and in the summary, unless NO_COLOR is set', () => {
  const text = (hasColour: boolean): string => {
    let written = '';
    const printer = terminalPrinter({ write: (part) => void (written += part) }, { now: () => now, hasColour });
    printer.event(ended('failed'));
    const outcome = { ...image, digest: null, status: 'failed', reason: 'why', bytes: 0 } as const;
    printer.summary({ ...NOTHING, failed: 1, images: [outcome] });
    printer.close();
    return written;
  };
  expect(text(true)).toContain(`\u001b[1;31m${SOURCE}:1.0: failed\u001b[0m\n`);
  expect(text(true)).toContain(`\u001b[1;31m  ${SOURCE}:1.0: why\u001b[0m\n`);
  expect(text(false)).not.toMatch(/\p{Cc}\[[\d;]*m/u);
});

test('a small screen shows no remains of the block', () => {
  const screen = new Screen(30, 6);
  const printer = terminalPrinter(screen, { now: () => now, hasColour: false });
  for (let seed = 1; seed <= 9; seed += 1) printer.event(blob(seed, 'started'));
  for (let fetched = 0; fetched < 1_000_000; fetched += 200_000) {
    for (let seed = 1; seed <= 9; seed += 1) printer.event(blob(seed, 'progress', fetched));
    redraw();
    expect(screen.lines).toHaveLength(5);
    expect(screen.lines.at(-2)).toBe('… and 6 more');
  }
  for (let seed = 1; seed <= 9; seed += 1) printer.event(blob(seed, 'failed'));
  printer.event(ended('failed', 'a reason that is longer than the screen is wide'));
  redraw();
  expect(screen.lines[0]).toBe('…example/team/app:1.0: failed');
  expect(screen.lines).toHaveLength(2);
  printer.close();
});

test('a notice appears above the block, which the summary removes', () => {
  const screen = new Screen(80, 24);
  const printer = terminalPrinter(screen, { now: () => now, hasColour: false });
  printer.event(blob(1, 'started'));
  redraw();
  printer.notice('stopping');
  expect(screen.lines).toEqual(['stopping', expect.stringContaining(short(1)), expect.stringContaining('0 images')]);
  printer.summary({ ...NOTHING, mirrored: 0, elapsedMs: 100 });
  printer.close();
  expect(screen.lines).toEqual(['stopping', '0 mirrored, 0 unchanged, 0 failed; 0 B fetched in 0.1 s']);
});

test('the block does not return after the summary, and a notice that follows it stands alone', () => {
  const screen = new Screen(80, 24);
  const printer = terminalPrinter(screen, { hasColour: false, now: () => now });
  printer.expect(image);
  printer.event(blob(1, 'started'));
  printer.event(blob(1, 'progress', 500_000));
  redraw();
  printer.summary({ ...NOTHING, mirrored: 1 });
  const { lines } = screen;
  redraw();
  redraw();
  expect(screen.lines).toEqual(lines);
  printer.notice('the report was not sent');
  redraw();
  printer.close();
  expect(screen.lines).toEqual([...lines, 'the report was not sent']);
});

test('the block is removed at the end of a run that has no summary', () => {
  const screen = new Screen(80, 24);
  const printer = terminalPrinter(screen, { hasColour: false, now: () => now });
  printer.expect(image);
  printer.event(ended('unchanged'));
  redraw();
  expect(screen.lines).toHaveLength(2);
  printer.close();
  redraw();
  expect(screen.lines).toEqual([expect.stringContaining('app:1.0: unchanged')]);
});

// A pty without a size reports 0 columns.
test('a terminal without a size counts as one of 80 by 24', () => {
  const screen = new Screen(80, 24);
  const printer = terminalPrinter(
    {
      write: (text) => {
        screen.write(text);
      },
      columns: 0,
      rows: 0,
    },
    { now: () => now, hasColour: false },
  );
  printer.event(blob(1, 'started'));
  redraw();
  expect(screen.lines[0]).toBe(`${short(1)} [>             ] 0 B of 2.0 MB  registry.example/team/app:1.0`);
  printer.close();
});
