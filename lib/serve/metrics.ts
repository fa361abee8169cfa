import type { FillResult } from './fill.ts';
import type { Access } from './listen.ts';

/** Counts responses, and prints the counts in the text format of Prometheus (version 0.0.4). */
export class Metrics {
  /** By labels. There are few kinds and statuses, so the number of lines is bounded. */
  readonly #requests = new Map<string, number>();
  readonly #misses = new Map<string, number>();
  readonly #orders = new Map<string, number>();
  #interrupted = 0;
  #sent = 0;
  #redirected = 0;

  count({ kind, status, isMiss, bytes, sentBytes, redirectedBytes }: Pick<Access, Counted>): void {
    add(this.#requests, `{kind="${kind}",status="${status}"}`);
    if (isMiss) add(this.#misses, `{kind="${kind}"}`);
    if (bytes === undefined) this.#interrupted += 1;
    this.#sent += sentBytes;
    this.#redirected += redirectedBytes;
  }

  countOrder(result: FillResult): void {
    add(this.#orders, `{result="${result}"}`);
  }

  text(): string {
    const one = (value: number): ReadonlyMap<string, number> => new Map([['', value]]);
    return [
      counter('requests_total', 'Responses, by the kind of the request and the status.', this.#requests),
      counter('misses_total', 'Requests for a manifest or a blob that the archive lacks.', this.#misses),
      counter('orders_total', 'Requests for missing tags, by their result.', this.#orders),
      counter('interrupted_total', 'Responses whose client disconnected before the end.', one(this.#interrupted)),
      counter('sent_bytes_total', 'Bytes written to connections, with headers.', one(this.#sent)),
      counter('redirected_bytes_total', 'Bytes of blobs whose response was a redirect.', one(this.#redirected)),
    ].join('');
  }
}

type Counted = 'kind' | 'status' | 'isMiss' | 'bytes' | 'sentBytes' | 'redirectedBytes';

function add(counts: Map<string, number>, labels: string): void {
  counts.set(labels, (counts.get(labels) ?? 0) + 1);
}

function counter(name: string, help: string, values: ReadonlyMap<string, number>): string {
  const full = `mirror_sync_serve_${name}`;
  const lines = [...values].map(([labels, value]) => `${full}${labels} ${value}\n`);
  return `# HELP ${full} ${help}\n# TYPE ${full} counter\n${lines.join('')}`;
}
