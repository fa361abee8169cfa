import type { Output } from './io.ts';

/** An output whose lines of one turn of the event loop are written together: a system call per line is slow. */
export class Gathered implements Output {
  readonly #out: Output;
  #text = '';

  constructor(out: Output) {
    this.#out = out;
  }

  write(text: string): void {
    if (this.#text === '') setImmediate(this.flush);
    this.#text += text;
  }

  /** Writes what has been gathered. Call it before a write to another output whose order matters, and at the end. */
  readonly flush = (): void => {
    const text = this.#text;
    this.#text = '';
    if (text !== '') this.#out.write(text);
  };
}
