/**
 * The record of one handled message to the resolver. The records of a run show when the run is finished: each message names the
 * further messages and the images that it has sent (decision 0018).
 */
import type { Archive } from '../../archive/archive.ts';
import { Place } from '../../oci/document.ts';
import { deduplicationId } from '../../queue/lanes.ts';
import type { ResolveMessage } from '../../queue/messages.ts';
import type { Outgoing, Queues } from '../../queue/queue.ts';
import type { Cancel } from '../../store/store.ts';
import type { ResolverContext } from '../context.ts';
import { type ImageName, imageName } from '../events.ts';
import { reportId } from '../reports.ts';
import { readCounts } from './summary.ts';

export interface MessageRecord {
  readonly version: 1;
  /** Repository in the archive. */
  readonly repository: string;
  /** The numbers of images that need no further message, by status: `unchanged`, or `queued` by an earlier run. */
  readonly counts: Readonly<Record<string, number>>;
  /** The ids of further messages to the resolver. */
  readonly sent: readonly string[];
  /** The ids of the reports of images whose layers or references are still to be written. */
  readonly ordered: readonly string[];
  /** Whether the repository has not completed its first run, in which `initial: accept` exempts digests. */
  readonly initial?: true;
}

/** A list of 100,000 tags has 1,000 slices. */
const MAX_RECORD_BYTES = 1024 * 1024;
const MAX_SENT = 50_000;
const MAX_ORDERED = 10_000;

const ID_LENGTH = 32;

/** The id of a message: equal for every delivery of it. */
export function messageId(message: ResolveMessage): string {
  return shortened(deduplicationId(message));
}

function shortened(id: string): string {
  return id.slice(0, ID_LENGTH);
}

/** Counts the work of one message. */
export class MessageTally {
  readonly #archive: Archive;
  readonly #counts = new Map<string, number>();
  readonly #sent = new Set<string>();
  readonly #ordered = new Set<string>();
  #isInitial = false;

  constructor(archive: Archive) {
    this.#archive = archive;
  }

  /** The context with which the message has to be handled. */
  watched(context: ResolverContext): ResolverContext {
    const { queuedBy } = context;
    return {
      ...context,
      queues: this.queues(context.queues),
      initial: () => {
        this.#isInitial = true;
      },
      observe: (event) => {
        if (event.type === 'image' && event.status !== 'pending' && event.referrer === undefined)
          this.#count(event.status);
        context.observe(event);
      },
      ...(queuedBy === undefined
        ? {}
        : {
            queuedBy: async (event, order, signal) => {
              const run = await queuedBy(event, order, signal);
              if (run !== undefined && event.referrer === undefined) this.#count('queued');
              return run;
            },
          }),
    };
  }

  /** The queues through which the message's images and further messages have to be sent. */
  queues(queues: Queues): Queues {
    return {
      send: async (queue, messages, options) => {
        for (const { message } of messages)
          if (message.type === 'resolve') this.#sent.add(messageId(message));
          else if (!('checks' in message) && !('change' in message)) this.#order(imageName(message, message.image));
        await queues.send(queue, messages, options);
      },
    };
  }

  /** Writes the record; a further delivery of the message replaces it. */
  async write(message: ResolveMessage, options: Cancel = {}): Promise<void> {
    const { store, layout } = this.#archive;
    const record: MessageRecord = {
      version: 1,
      repository: message.repository,
      counts: Object.fromEntries(this.#counts),
      sent: [...this.#sent, ...(message.next === undefined ? [] : [shortened(message.next)])],
      ordered: [...this.#ordered],
      ...(this.#isInitial ? { initial: true } : {}),
    };
    const key = layout.openRun(message.run, messageId(message));
    await store.put(key, Buffer.from(`${JSON.stringify(record)}\n`), { contentType: 'application/json', ...options });
  }

  /** Reports are about requested images, so a referrer has none. */
  #order(name: ImageName): void {
    if (name.referrer === undefined) this.#ordered.add(reportId(this.#archive, name));
  }

  #count(status: string): void {
    this.#counts.set(status, (this.#counts.get(status) ?? 0) + 1);
  }
}

/** The ids of the first messages of a run. */
export function idsOf(messages: readonly Outgoing<ResolveMessage>[]): readonly string[] {
  return [...new Set(messages.map(({ message }) => messageId(message)))];
}

/**
 * @throws Failure that names the field
 */
export async function readMessageRecord(
  archive: Archive,
  key: string,
  options: Cancel = {},
): Promise<MessageRecord | undefined> {
  const found = await archive.store.get(key, { maxBytes: MAX_RECORD_BYTES, ...options });
  if (found === undefined) return undefined;
  const place = Place.ofBytes(`read ${key}`, found.bytes);
  const texts = (name: string, limit: number): readonly string[] =>
    place
      .at(name)
      .list(limit)
      .map((each) => each.text());
  return {
    version: 1,
    repository: place.at('repository').text(),
    counts: readCounts(place.at('counts')),
    sent: texts('sent', MAX_SENT),
    ordered: texts('ordered', MAX_ORDERED),
    ...(place.at('initial').optionalFlag() ? { initial: true } : {}),
  };
}
