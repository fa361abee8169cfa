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

/** What of a Lambda function URL's event is used here (`LambdaFunctionURLEvent`). */
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

/** What is to be done about a webhook. */
export interface Decision {
  readonly answer: Answer;
  /** To be sent to the resolve queue before the answer is given. */
  readonly messages: readonly Outgoing<ResolveMessage>[];
  /** For the log; nothing in it is secret, and so neither path nor query is. */
  readonly entry: Readonly<Record<string, unknown>>;
}

export interface WebhookDeps {
  /** Read with every delivery that brings a proof; the caller caches them. */
  readonly secrets: () => Promise<WebhookSecrets>;
  /** Read with every proven push; the caller caches it. */
  readonly config: () => Promise<Config>;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
  /** Resolves once the resolve queue has taken them all. */
  readonly send: (messages: readonly Outgoing<ResolveMessage>[]) => Promise<void>;
  readonly log: (level: 'info' | 'warn' | 'error', entry: Readonly<Record<string, unknown>>) => void;
}

/**
 * Answers a webhook. No failure is thrown or shown to the caller: the answer is 503, the caller may try again, and the log
 * has the reason. A delivery is accepted only when its messages are in the queue.
 */
export async function handleWebhook(event: WebhookEvent, deps: WebhookDeps): Promise<Answer> {
  try {
    const { answer, messages, entry } = await decide(event, deps);
    if (messages.length > 0) await deps.send(messages);
    deps.log(answer.statusCode < 400 ? 'info' : 'warn', entry);
    return answer;
  } catch (error) {
    const { operation, code, message } = asFailure(error, 'handle webhook', 'input');
    deps.log('error', { message: 'webhook not handled', operation, code, reason: message });
    return answerOf(503, 'not now; try again later');
  }
}

/**
 * Decides without sending anything. The cheapest check is first: the secrets are read for a POST of a permitted size that
 * brings a proof, and the configuration for a proven push, so that a stranger costs no read.
 */
export async function decide(
  event: WebhookEvent,
  { secrets, config, now = Date.now }: Pick<WebhookDeps, 'secrets' | 'config' | 'now'>,
): Promise<Decision> {
  const { requestId, http } = event.requestContext;
  if (http.method !== 'POST') {
    const { headers, ...answer } = answerOf(405, 'webhooks are POST requests');
    return turnedAway({ ...answer, headers: { ...headers, allow: 'POST' } }, requestId);
  }
  const delivery = deliveryOf(event);
  const verdict = screen(delivery) ?? translate(delivery, await secrets(), now());
  if (verdict.kind !== 'pushed') return turnedAway(answerTo(verdict), requestId, verdict);
  const { sender, items } = verdict;
  // A delivery of Quay has neither a time nor a number: two pushes of a tag look the same, and are two runs.
  const run = runOf('webhook', sender, delivery.body, ...(sender === 'quay' ? [requestId] : []));
  const messages = ordersFor(items, await config(), run);
  const entry = { message: 'webhook', requestId, sender, run, items, queued: messages.length };
  if (messages.length === 0) return { answer: answerOf(200, 'nothing of this is mirrored'), messages, entry };
  return { answer: answerOf(202, 'to be mirrored'), messages, entry };
}

/** An ECR event of EventBridge: the same, without anybody who waits for an answer. */
export function decideEcr(event: unknown, config: Config): Omit<Decision, 'answer'> {
  const verdict = translateEcr(event);
  if (verdict.kind !== 'pushed') return { messages: [], entry: { message: 'ECR event', ...verdict } };
  // EventBridge delivers at least once, and an event keeps its id.
  const run = runOf('ecr', new Place('read ECR event', '', event).at('id').text());
  const messages = ordersFor(verdict.items, config, run);
  return { messages, entry: { message: 'ECR event', run, items: verdict.items, queued: messages.length } };
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
  return { answer, messages: [], entry: { message: 'webhook', requestId, status: answer.statusCode, ...verdict } };
}
