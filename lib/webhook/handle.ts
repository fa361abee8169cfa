import { asFailure } from '../base/failure.ts';
import type { Config } from '../config/mirrors.ts';
import { Place } from '../oci/document.ts';
import type { ResolveMessage } from '../queue/messages.ts';
import type { Outgoing } from '../queue/queue.ts';
import { type Delivery, type Verdict } from './delivery.ts';
import { translateEcr } from './ecr.ts';
import { ordersFor, runOf } from './orders.ts';
import type { WebhookSecrets } from './secrets.ts';
import { translate } from './translate.ts';

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
  /** Kept by whoever gives them: asked for with every delivery. */
  readonly secrets: () => Promise<WebhookSecrets>;
  readonly config: () => Promise<Config>;
  /** Resolves once the resolve queue has taken them all. */
  readonly send: (messages: readonly Outgoing<ResolveMessage>[]) => Promise<void>;
  readonly log: (level: 'info' | 'warn' | 'error', entry: Readonly<Record<string, unknown>>) => void;
}

/**
 * Answers a webhook. Nothing that goes wrong is thrown or told to the caller: it hears 503 and may try again, and the log
 * says what it was. A delivery is accepted only when its messages are in the queue.
 */
export async function handleWebhook(event: WebhookEvent, deps: WebhookDeps): Promise<Answer> {
  try {
    const [secrets, config] = await Promise.all([deps.secrets(), deps.config()]);
    const { answer, messages, entry } = decide(event, secrets, config);
    if (messages.length > 0) await deps.send(messages);
    deps.log(answer.statusCode < 400 ? 'info' : 'warn', entry);
    return answer;
  } catch (error) {
    const { operation, code, message } = asFailure(error, 'handle webhook', 'input');
    deps.log('error', { message: 'webhook not handled', operation, code, reason: message });
    return answerOf(503, 'not now; try again later');
  }
}

/** The same without doing anything: a function of what came, the secrets and the configuration. */
export function decide(event: WebhookEvent, secrets: WebhookSecrets, config: Config): Decision {
  const { requestId, http } = event.requestContext;
  if (http.method !== 'POST') {
    const { headers, ...answer } = answerOf(405, 'webhooks are POST requests');
    return turnedAway({ ...answer, headers: { ...headers, allow: 'POST' } }, requestId);
  }
  const delivery = deliveryOf(event);
  const verdict = translate(delivery, secrets);
  if (verdict.kind !== 'pushed') return turnedAway(answerTo(verdict), requestId, verdict);
  const { sender, items } = verdict;
  // Quay's deliveries have no time and no number: two pushes of a tag look the same, and must not be taken for one.
  const run = runOf('webhook', sender, delivery.body, ...(sender === 'quay' ? [requestId] : []));
  const messages = ordersFor(items, config, run);
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
