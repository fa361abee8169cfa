import { randomUUID } from 'node:crypto';
import { homedir } from 'node:os';
import type { Archive } from '../archive/archive.ts';
import type { MirrorEvent } from '../mirror/events.ts';
import { formatRepository, type Reference } from '../oci/reference.ts';
import type { Order, Wanted } from '../queue/messages.ts';
import { resolveMessage } from '../queue/outgoing.ts';
import type { Outgoing } from '../queue/queue.ts';
import { SLICE } from '../mirror/resolve.ts';
import { loadCredentials } from '../registry/credentials.ts';
import { createSources } from '../registry/sources.ts';
import type { SyncCommand } from './command.ts';
import { EXIT, type Io } from './io.ts';
import { jsonPrinter } from './json-printer.ts';
import { runLocal } from './local-run.ts';
import { Outcomes } from './outcomes.ts';
import { plainPrinter } from './plain-printer.ts';
import type { Printer, Summary } from './printer.ts';
import { terminalPrinter } from './terminal-printer.ts';

/** Mirrors what the command names into the archive, and tells of it. Resolves to the exit code. */
export async function sync(command: SyncCommand, archive: Archive, io: Io): Promise<number> {
  const { concurrency, insecure, authfile } = command;
  const files = { authfile, env: io.env, home: homedir() };
  const sources = createSources({ connections: concurrency, insecure, credentials: await loadCredentials(files) });
  const printer = printerFor(command, io);
  const outcomes = new Outcomes();
  const observe = (event: MirrorEvent): void => {
    outcomes.observe(event);
    printer.event(event);
  };
  const started = performance.now();
  try {
    const messages = ordersOf(command, outcomes);
    await runLocal({ archive, sources, observe, signal: io.signal, concurrency, messages });
    const unfinished = io.signal.aborted ? 'interrupted; run the same command again to go on' : 'it came to no end';
    const summary = summarise([...outcomes.all(unfinished)], performance.now() - started);
    printer.summary(summary);
    if (io.signal.aborted) return EXIT.interrupted;
    return summary.failed === 0 ? EXIT.ok : EXIT.failed;
  } finally {
    printer.close();
    await sources.close();
  }
}

function printerFor({ json }: SyncCommand, { stdout }: Io): Printer {
  if (json) return jsonPrinter(stdout);
  return stdout.isTTY === true ? terminalPrinter(stdout) : plainPrinter(stdout);
}

/** One message a repository's slice of images, or one a repository whose tags are all wanted. */
function ordersOf(command: SyncCommand, outcomes: Outcomes): Outgoing[] {
  const run = randomUUID();
  const platforms = command.platforms.length === 0 ? 'all' : command.platforms;
  const orders = new Map<string, { readonly order: Order; readonly images: Wanted[] }>();
  for (const reference of command.references) {
    const source = formatRepository(reference);
    const entry = orders.get(source) ?? { order: { run, source, repository: source, platforms }, images: [] };
    orders.set(source, entry);
    if (command.allTags) continue;
    const wanted = wantedOf(reference);
    entry.images.push(wanted);
    outcomes.expect({ source, ...wanted });
  }
  const messages: Outgoing[] = [];
  for (const { order, images } of orders.values()) {
    if (command.allTags) messages.push(resolveMessage(order, { kind: 'list' }));
    for (let at = 0; at < images.length; at += SLICE)
      messages.push(resolveMessage(order, { kind: 'images', images: images.slice(at, at + SLICE) }));
  }
  return messages;
}

function wantedOf({ tag, digest }: Reference): Wanted {
  return { ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) };
}

function summarise(images: Summary['images'], elapsedMs: number): Summary {
  const count = (status: string): number => images.filter((image) => image.status === status).length;
  return {
    mirrored: count('mirrored'),
    unchanged: count('unchanged'),
    failed: count('failed'),
    images,
    elapsedMs,
  };
}
