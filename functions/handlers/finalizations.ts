import type { SQSBatchResponse, SQSEvent } from 'aws-lambda';
import type { FinalizeMessage } from '../../lib/queue/messages.ts';
import { type CachedReader, cachedReader } from '../../lib/sync/cached-reader.ts';
import { receiptReader } from '../../lib/sync/receipt-reader.ts';
import { failedImages } from '../../lib/sync/failures.ts';
import type { Attesting } from '../../lib/sync/finalizer/attestations.ts';
import { finalize } from '../../lib/sync/finalizer/finalize.ts';
import { handleBatch, type QueuePorts } from '../batch.ts';
import type { RecordImage } from '../record.ts';

export interface FinalizerPorts extends QueuePorts, Attesting {
  readonly record: RecordImage;
}

export function handleFinalizations(
  event: SQSEvent,
  { archive, record, attestor, onNotAttested, ...queue }: FinalizerPorts,
  signal: AbortSignal,
): Promise<SQSBatchResponse> {
  // One for each repository: versions of different tag indexes say nothing about each other.
  const readers = new Map<string | undefined, CachedReader>();
  const commit = (...messages: readonly FinalizeMessage[]): Promise<void> => {
    const repository = messages[0]?.repository;
    const reader = readers.get(repository) ?? cachedReader(receiptReader(archive, signal));
    readers.set(repository, reader);
    return finalize(
      { archive, record: (event, again) => record(event, { again, signal }), attestor, onNotAttested },
      messages,
      { signal, reader },
    );
  };
  return handleBatch<FinalizeMessage>(event, {
    ...queue,
    type: 'finalize',
    handle: ({ message }) => commit(message),
    // The messages of one repository are committed in one write.
    handleTogether: (deliveries) => commit(...deliveries.map(({ message }) => message)),
    giveUp: async ({ message }, failure) => {
      for (const image of failedImages(message, failure)) await record(image, { signal });
    },
  });
}
