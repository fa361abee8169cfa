import { changesInShort } from '../../changes/text.ts';
import type { MirrorEvent } from '../../sync/events.ts';
import { plural } from '../../core/format.ts';
import { Gathered } from './gathered.ts';
import { type Output, writeLine } from './io.ts';
import { noTagsReason, shownName } from '../../app/outcomes.ts';
import type { Printer } from './printer.ts';
import { RunProgress } from './run-progress.ts';
import { summaryLines } from './summary.ts';

/** The interval of progress lines, because a CI system may end a silent job. */
const PROGRESS_MS = 30_000;

/** For a pipe or a log: one line with the time per image and per page of tags. */
export function plainPrinter(out: Output, errors: Output, now: () => number = () => Date.now()): Printer {
  const progress = new RunProgress();
  const lines = new Gathered(out);
  const stamped = (to: Output, text: string): void => {
    writeLine(to, `${new Date(now()).toISOString().slice(0, 19)}Z ${text}`);
  };
  const timer = setInterval(() => stamped(lines, progress.clauses(now()).join(', ')), PROGRESS_MS);
  timer.unref();
  return {
    expect: (name) => progress.expect(name),
    event(event) {
      progress.observe(event);
      const text = resultOf(event);
      if (text !== undefined) stamped(lines, text);
    },
    notice(text) {
      lines.flush();
      stamped(errors, text);
    },
    summary(summary) {
      clearInterval(timer);
      for (const { text } of summaryLines(summary)) lines.write(`${text}\n`);
      lines.flush();
    },
    close() {
      clearInterval(timer);
      lines.flush();
    },
  };
}

/**
 * The line of an event that is a result; undefined for an event that only progress shows. The summary has the reasons of
 * failures and the warnings, so that each is printed once.
 *
 * @param digestOf how a digest is shown
 */
export function resultOf(event: MirrorEvent, digestOf: (digest: string) => string = String): string | undefined {
  switch (event.type) {
    case 'listed':
      return `${event.source}: ${event.upstream === undefined ? plural(event.tags.length, 'tag') : `no tags to mirror: ${noTagsReason(event.upstream)}`}`;
    case 'image': {
      const { status, digest, previous, changes, current, until, code, reason, notes = [], referrer } = event;
      const name = shownName(event);
      if (status === 'failed') return `${name}: failed${code === undefined ? '' : ` (${code})`}`;
      const remarks = [
        ...(referrer === undefined ? [] : [`referrer of ${referrer.root}`]),
        ...(previous === undefined ? [] : [`moved from ${digestOf(previous)}`]),
        ...(changes === undefined ? [] : [changesInShort(changes)]),
        ...(current === undefined ? [] : [`the tag stays at ${digestOf(current)}`]),
        ...(until === undefined ? [] : [`until ${until}`]),
        // The reason of a drifted tag repeats the digests.
        ...(reason === undefined || current !== undefined ? [] : [reason]),
        ...(notes.length === 0 ? [] : [plural(notes.length, 'warning')]),
      ];
      return `${name}: ${status}${digest === undefined ? '' : `  ${digestOf(digest)}`}${remarks.length === 0 ? '' : ` (${remarks.join('; ')})`}`;
    }
    case 'resolved':
    case 'blob':
      return undefined;
  }
}
