import { asFailure } from '../core/failure.ts';
import type { Config } from '../config/mirrors.ts';
import { Place } from '../oci/document.ts';
import type { ResolveMessage } from '../queue/messages.ts';
import type { Outgoing } from '../queue/queue.ts';
import { type Delivery, type Verdict } from './delivery.ts';
import { translateEcr } from './ecr.ts';
import { ordersFor, runOf } from './orders.ts';
import type { WebhookSecrets } from './secrets.ts';
import { screen, translate } from './translate.ts';

/** The used fields of a Lambda function URL's event (`LambdaFunctionURLEvent`). */
export interface WebhookEvent {
  readonly rawPath: string;
  readonly rawQueryString: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body?: string | undefined;
  readonly isBase64Encoded: boolean;
  readonly requestContext: { readonly requestId: string; readonly http: { readonly method: string } };
}

export interface Answer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** The decision about a webhook. */
export interface Decision {
  readonly answer: Answer;
  /** Sent to the resolve queue before the response. */
  readonly messages: readonly Outgoing<ResolveMessage>[];
  /** The log entry, without the path and the query, which may contain secrets. */
  readonly entry: Readonly<Record<string, unknown>>;
}

export interface WebhookDeps {
  /** Called for each delivery with a credential; the caller caches the result. */
  readonly secrets: () => Promise<WebhookSecrets>;
  /** Called for each authenticated push; the caller caches the result. */
  readonly config: () => Promise<Config>;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
  /** Resolves when all messages are in the resolve queue. */
  readonly send: (messages: readonly Outgoing<ResolveMessage>[]) => Promise<void>;
  readonly log: (level: 'info' | 'warn' | 'error', message: string, entry: Decision['entry']) => void;
}

/**
 * Handles a webhook. After any failure the response is a 503 without details, so that the sender may retry; the log has the
 * reason. A delivery is accepted only when its messages are in the queue.
 */
export async function handleWebhook(event: WebhookEvent, deps: WebhookDeps): Promise<Answer> {
  try {
    const { answer, messages, entry } = await decide(event, deps);
    if (messages.length > 0) await deps.send(messages);
    deps.log(answer.statusCode < 400 ? 'info' : 'warn', 'webhook', entry);
    return answer;
  } catch (error) {
    const { operation, code, message } = asFailure(error, 'handle webhook', 'input');
    deps.log('error', 'webhook not handled', { operation, code, reason: message });
    return answerOf(503, 'temporarily unavailable; retry later');
  }
}

/**
 * Decides without sending anything. The secrets are read only for a POST of a permitted size with a credential, and the
 * configuration only for an authenticated push, so that unauthenticated requests cost no reads.
 */
export async function decide(
  event: WebhookEvent,
  { secrets, config, now = Date.now }: Pick<WebhookDeps, 'secrets' | 'config' | 'now'>,
): Promise<Decision> {
  const { requestId, http } = event.requestContext;
  if (http.method !== 'POST') {
    const { headers, ...answer } = answerOf(405, 'expected a POST request');
    return turnedAway({ ...answer, headers: { ...headers, allow: 'POST' } }, requestId);
  }
  const delivery = deliveryOf(event);
  const verdict = screen(delivery) ?? translate(delivery, await secrets(), now());
  if (verdict.kind !== 'pushed') return turnedAway(answerTo(verdict), requestId, verdict);
  const { sender, items } = verdict;
  // A delivery of Quay has no time and no id, so two pushes of a tag have equal bodies.
  const run = runOf('webhook', sender, delivery.body, ...(sender === 'quay' ? [requestId] : []));
  const messages = ordersFor(items, await config(), run);
  const entry = { requestId, sender, run, items, queued: messages.length };
  if (messages.length === 0) return { answer: answerOf(200, 'no mirror matches'), messages, entry };
  return { answer: answerOf(202, 'queued'), messages, entry };
}

/** The decision about an ECR event of EventBridge, which needs no response. */
export function decideEcr(event: unknown, config: Config): Omit<Decision, 'answer'> {
  const verdict = translateEcr(event);
  if (verdict.kind !== 'pushed') return { messages: [], entry: { ...verdict } };
  // EventBridge delivers at least once, and an event keeps its id.
  const run = runOf('ecr', new Place('read ECR event', '', event).at('id').text());
  const messages = ordersFor(verdict.items, config, run);
  return { messages, entry: { run, items: verdict.items, queued: messages.length } };
}

function deliveryOf({ rawPath, rawQueryString, headers, body = '', isBase64Encoded }: WebhookEvent): Delivery {
  return {
    headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])),
    body: Buffer.from(body, isBase64Encoded ? 'base64' : 'utf8'),
    path: rawPath,
    query: rawQueryString,
  };
}

function answerTo(verdict: Exclude<Verdict, { kind: 'pushed' }>): Answer {
  return verdict.kind === 'ignored' ? answerOf(200, verdict.reason) : answerOf(verdict.status, verdict.reason);
}

function answerOf(statusCode: number, message: string): Answer {
  return { statusCode, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ message }) };
}

function turnedAway(answer: Answer, requestId: string, verdict?: Verdict): Decision {
  return { answer, messages: [], entry: { requestId, status: answer.statusCode, ...verdict } };
}
