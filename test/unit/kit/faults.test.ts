import { spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { countCalls, failNth, Faults } from '../../kit/faults.ts';

/** A port in miniature: a write, a read that streams, a listing, and a lazy part with a stream of its own. */
class Shelf {
  readonly name = 'shelf';
  readonly #books: string[] = [];
  open = 0;

  async put(book: string): Promise<number> {
    await Promise.resolve();
    return this.#books.push(book);
  }

  async read(): Promise<{ size: number; body: AsyncIterable<string> }> {
    await Promise.resolve();
    return { size: this.#books.length, body: this.list() };
  }

  async *list(): AsyncGenerator<string> {
    this.open += 1;
    try {
      for (const book of this.#books) yield await Promise.resolve(book);
    } finally {
      this.open -= 1;
    }
  }

  blob(book: string): { put(): Promise<number> } {
    return { put: () => this.put(book) };
  }

  get books(): readonly string[] {
    return this.#books;
  }
}

async function visit(shelf: Shelf): Promise<string[]> {
  await shelf.put('a');
  await shelf.blob('b').put();
  const { body } = await shelf.read();
  const books: string[] = [];
  for await (const book of body) books.push(book);
  return books;
}

describe('counting', () => {
  test('numbers every call and every chunk in order, and counts lazy results when they are used', async () => {
    const { port, faults } = countCalls(new Shelf());
    expect(await visit(port)).toEqual(['a', 'b']);
    expect(port.name).toBe('shelf');
    expect(faults.calls).toEqual([
      'port.put a',
      'port.blob b.put',
      'port.read',
      'port.read → next',
      'port.read → next',
      'port.read → next',
    ]);
  });

  test('covers several ports together', async () => {
    const faults = new Faults({ at: 2, act: new Error('lost') });
    const [one, other] = [faults.wrap(new Shelf(), 'one'), faults.wrap(new Shelf(), 'other')];
    await one.put('a');
    await expect(other.put('b')).rejects.toThrow('lost');
    await other.put('c');
    expect(faults.calls).toEqual(['one.put a', 'other.put b', 'other.put c']);
  });
});

describe('failing', () => {
  test.each([
    { when: 'before', books: [] },
    { when: 'after', books: ['a'] },
  ] as const)('happens $when the effect', async ({ when, books }) => {
    const shelf = new Shelf();
    const { port, faults } = failNth(shelf, 1, new Error('lost'), { when });
    await expect(visit(port)).rejects.toThrow('lost');
    expect(shelf.books).toEqual(books);
    expect(faults.fired).toBe(true);
    expect(faults.calls).toHaveLength(1);
  });

  test.each(['before', 'after'] as const)(
    'of each call in turn (%s its effect) fails the work and closes streams',
    async (when) => {
      const counted = countCalls(new Shelf());
      await visit(counted.port);
      for (let n = 1; n <= counted.faults.calls.length; n += 1) {
        const shelf = new Shelf();
        const { port, faults } = failNth(shelf, n, new Error(`call ${n}`), { when });
        await expect(visit(port)).rejects.toThrow(`call ${n}`);
        expect(faults.calls).toHaveLength(n);
        expect(shelf.open).toBe(0);
      }
    },
  );

  test('of all later calls and by callback is possible', async () => {
    const dead = new Faults({ at: 2, times: Infinity, act: new Error('dead') });
    const port = dead.wrap(new Shelf());
    await port.put('a');
    await expect(port.put('b')).rejects.toThrow('dead');
    await expect(port.put('c')).rejects.toThrow('dead');
    const seen: number[] = [];
    const shelf = new Shelf();
    const faults = new Faults({ at: 1, when: 'after', act: () => void seen.push(shelf.books.length) });
    await faults.wrap(shelf).put('a');
    expect(seen).toEqual([1]);
  });

  test('does not affect a stream that its consumer leaves early', async () => {
    const shelf = new Shelf();
    const { port } = countCalls(shelf);
    await port.put('a');
    for await (const book of port.list()) {
      expect([book, shelf.open]).toEqual(['a', 1]);
      break;
    }
    expect(shelf.open).toBe(0);
  });
});

test('a process that is killed at a call does not execute anything after it', () => {
  const kit = new URL('../../kit/faults.ts', import.meta.url).href;
  const program = `
    import { dieHere, Faults } from ${JSON.stringify(kit)};
    const say = { async put(word) { process.stdout.write(word); } };
    const port = new Faults({ at: 2, when: 'after', act: dieHere }).wrap(say);
    for (const word of ['one ', 'two ', 'three ']) await port.put(word);`;
  const child = spawnSync(process.execPath, ['--input-type=module', '--eval', program], { encoding: 'utf8' });
  expect({ signal: child.signal, stdout: child.stdout }).toEqual({ signal: 'SIGKILL', stdout: 'one two ' });
});
