/**
 * AWS list prices in dollars, of us-east-1 in 2025 and without the free tier. Prices change, and regions differ.
 */

/** Lambda on arm64: GB-seconds, including the start of a sandbox. */
export const GIGABYTE_SECOND = 0.0000133334;
export const INVOCATION = 0.2 / 1e6;

/** EventBridge: a custom event. */
export const EVENT = 1 / 1e6;

/** CloudWatch Logs: ingestion. */
export const GIGABYTE_OF_LOGS = 0.5;

export type Service = 'SQS' | 'S3, reads' | 'S3, writes and lists';

/** A request. A request to an SQS FIFO queue has up to ten messages and 64 KiB. */
export const REQUEST: Readonly<Record<Service, number>> = {
  SQS: 0.5 / 1e6,
  'S3, reads': 0.0004 / 1000,
  'S3, writes and lists': 0.005 / 1000,
};

const SERVICES: Readonly<Record<string, Service>> = {
  SendMessageBatch: 'SQS',
  ReceiveMessage: 'SQS',
  DeleteMessageBatch: 'SQS',
  ChangeMessageVisibility: 'SQS',
  GetObject: 'S3, reads',
  HeadObject: 'S3, reads',
  PutObject: 'S3, writes and lists',
  CreateMultipartUpload: 'S3, writes and lists',
  UploadPart: 'S3, writes and lists',
  CompleteMultipartUpload: 'S3, writes and lists',
  ListMultipartUploads: 'S3, writes and lists',
};

/** @throws RangeError for an operation without a known price */
export function serviceOf(operation: string): Service {
  const service = SERVICES[operation];
  if (service === undefined) throw new RangeError(`what does ${operation} cost? (bench/kit/prices.ts)`);
  return service;
}
