/**
 * The turns of pipelined requests (RFC 9112, section 9.3.2). Node.js starts each request as soon as it is parsed, and a connection may
 * send thousands of them without reading a response. Here a connection has one response at a time.
 */
import type { Socket } from 'node:net';

/** The requests of a connection that wait for earlier responses. The programs that pull images send none ahead. */
const MAX_WAITING = 4;

interface Line {
  waiting: number;
  /** Settles when the earlier requests are answered, or the connection has ended. */
  last: Promise<void>;
}

export class Turns {
  readonly #lines = new WeakMap<Socket, Line>();

  /**
   * Waits for the responses to the earlier requests of a connection. Ends a connection that sends too many requests ahead; its client
   * repeats those without a response.
   *
   * @param answered resolves when the response to this request is sent, or the connection has ended
   * @returns whether the connection still waits for this response
   */
  async take(socket: Socket, answered: Promise<void>): Promise<boolean> {
    const line = this.#lines.get(socket) ?? { waiting: 0, last: Promise.resolve() };
    this.#lines.set(socket, line);
    if (line.waiting === MAX_WAITING) socket.destroy();
    if (socket.destroyed) return false;
    const turn = line.last;
    // Node.js reports the end of a connection only to the response whose turn it is.
    line.last = turn.then(() => (socket.destroyed ? undefined : answered));
    line.waiting += 1;
    await turn;
    line.waiting -= 1;
    return !socket.destroyed;
  }
}
