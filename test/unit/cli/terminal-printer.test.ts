import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { terminalPrinter } from '../../../lib/cli/output/terminal-printer.ts';
import type { BlobEvent, ImageEvent } from '../../../lib/sync/events.ts';
import { digestOf } from '../../../lib/oci/digest.ts';

/** As much of a terminal as the printer uses: what is on the screen, and what has scrolled off it. */
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

const NOTHING = { run: 'run', mirrored: 0, unchanged: 0, failed: 0, bytes: 0, elapsedMs: 0, images: [], warnings: [] };

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

// One image of two blobs, from the first byte to the summary: what one sees at each step.
test('a line a blob with bar, size and speed; then Verifying, what is stored, the image, the summary', () => {
  const screen = new Screen(80, 24);
  const printer = terminalPrinter(screen, () => now);
  printer.event({ type: 'resolved', ...image, missing: 2, missingBytes: 4_000_000, fetchedBytes: 500 });
  printer.event(blob(1, 'started'));
  printer.event(blob(2, 'started'));
  redraw();
  printer.event(blob(1, 'progress', 1_000_000));
  printer.event(blob(2, 'progress', 500_000));
  redraw();
  const head = `${SOURCE}:1.0: 2 blobs to fetch, 4.0 MB`;
  expect(screen.lines).toEqual([
    head,
    `${short(1)}  Downloading  [==========>         ] 1.0 MB of 2.0 MB  5.0 MB/s`,
    `${short(2)}  Downloading  [=====>              ] 500 kB of 2.0 MB  2.5 MB/s`,
  ]);
  printer.event(blob(1, 'stored', 2_000_000));
  printer.event(blob(2, 'progress', 2_000_000));
  redraw();
  expect(screen.lines).toEqual([
    head,
    `${short(1)}  Stored       2.0 MB`,
    `${short(2)}  Verifying    [====================] 2.0 MB`,
  ]);
  printer.event(blob(2, 'stored', 2_000_000));
  printer.event({ ...ended('mirrored'), digest: blobOf(0) });
  printer.summary({ ...NOTHING, mirrored: 1, elapsedMs: 400 });
  printer.close();
  expect(screen.lines.join('\n')).toBe(
    [
      head,
      `${short(1)}  Stored       2.0 MB`,
      `${short(2)}  Stored       2.0 MB`,
      // The screen's own wrapping.
      ...`${SOURCE}:1.0: mirrored  ${blobOf(0)}`.match(/.{1,80}/g)!,
      '1 mirrored, 0 unchanged, 0 failed; 0 B fetched in 0.4 s',
    ].join('\n'),
  );
  expect(vi.getTimerCount()).toBe(0);
});

// More blobs than lines, and lines that are too long: the block stays redrawable, so nothing of it is left behind.
test('on a small screen nothing of the block is left behind', () => {
  const screen = new Screen(30, 6);
  const printer = terminalPrinter(screen, () => now);
  for (let seed = 1; seed <= 9; seed += 1) printer.event(blob(seed, 'started'));
  for (let fetched = 0; fetched < 1_000_000; fetched += 200_000) {
    for (let seed = 1; seed <= 9; seed += 1) printer.event(blob(seed, 'progress', fetched));
    redraw();
    expect(screen.lines).toHaveLength(5);
    expect(screen.lines.at(-1)).toBe('… and 5 more');
  }
  for (let seed = 1; seed <= 9; seed += 1) printer.event(blob(seed, 'failed'));
  printer.event(ended('failed', 'a reason that is longer than the screen is wide'));
  redraw();
  expect(screen.lines).toEqual([`${SOURCE}:1.0: f`.slice(0, 28) + '…']);
  printer.close();
});

// Ctrl-C in the middle: the word on it stands above the block, and the block goes with the summary.
test('a notice does not tear the picture', () => {
  const screen = new Screen(80, 24);
  const printer = terminalPrinter(screen, () => now);
  printer.event(blob(1, 'started'));
  redraw();
  printer.notice('stopping');
  expect(screen.lines).toEqual(['stopping', expect.stringContaining('Downloading')]);
  printer.summary({ ...NOTHING, mirrored: 0, elapsedMs: 100 });
  printer.close();
  expect(screen.lines).toEqual(['stopping', '0 mirrored, 0 unchanged, 0 failed; 0 B fetched in 0.1 s']);
});

// A pty whose size nobody has set says 0 columns; what is drawn then is what 80 would have.
test('a terminal without a size is taken for one of 80 by 24', () => {
  const screen = new Screen(80, 24);
  const printer = terminalPrinter(
    {
      write: (text) => {
        screen.write(text);
      },
      columns: 0,
      rows: 0,
    },
    () => now,
  );
  printer.event(blob(1, 'started'));
  redraw();
  expect(screen.lines).toEqual([`${short(1)}  Downloading  [>                   ] 0 B of 2.0 MB`]);
  printer.close();
});
