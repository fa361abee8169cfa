import type { TagUpdate } from '../../archive/archive.ts';
import type { TagOutcome } from '../../archive/tag-index/tag-index.ts';
import { defined } from '../../core/defined.ts';
import type { FinalizeMessage, RecordedFailure } from '../../queue/messages.ts';
import type { FinalizerContext } from '../context.ts';
import { type ImageEvent, imageName } from '../events.ts';

/** The outcomes of observations that stay invisible. */
const WITHHELD: ReadonlySet<TagOutcome> = new Set(['held', 'unverified', 'drifted', 'rejected']);

type WithheldUpdate = TagUpdate & { readonly outcome: 'held' | 'unverified' | 'drifted' | 'rejected' };

export function isWithheld(update: TagUpdate): update is WithheldUpdate {
  return WITHHELD.has(update.outcome);
}

export function isVisible(outcome: TagOutcome = 'written'): boolean {
  return !WITHHELD.has(outcome);
}

/**
 * Records every image of a batch. A failed record does not stop the others: every report is written even if the event
 * bus refuses an event.
 */
export class Reporter {
  readonly #context: FinalizerContext;
  #failure: { readonly error: unknown } | undefined;

  constructor(context: FinalizerContext) {
    this.#context = context;
  }

  async report(
    message: FinalizeMessage,
    status: ImageEvent['status'],
    word?: Partial<RecordedFailure> & Pick<ImageEvent, 'previous' | 'changes' | 'notes' | 'until' | 'current'>,
    again = false,
  ): Promise<void> {
    try {
      await this.#context.record({ type: 'image', status, ...imageName(message, message.image), ...word }, again);
    } catch (error) {
      this.#failure ??= { error };
    }
  }

  /** A failure, or a tag that the policy keeps although it has moved; an incomplete image has no result yet. */
  async failed(message: FinalizeMessage, outcome: RecordedFailure | 'incomplete' | undefined): Promise<void> {
    if (typeof outcome === 'object')
      await this.report(message, outcome.code === 'drifted' ? 'drifted' : 'failed', outcome);
  }

  /** An image that stays invisible. */
  withheld(message: FinalizeMessage, { outcome, until, current, reason, isNew }: WithheldUpdate): Promise<void> {
    const end = until === undefined ? undefined : new Date(until).toISOString();
    return this.report(message, outcome, defined({ until: end, current, reason }), isNew !== true);
  }

  /**
   * @throws the first failure, so that the queue delivers the messages again
   */
  end(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
