import type { Context } from 'aws-lambda';
import { readEnvironment } from '../lib/config/environment.ts';
import { invalid } from '../lib/core/failure.ts';
import { isRecord } from '../lib/core/json.ts';
import { type Answer, decideEcr, handleWebhook } from '../lib/webhook/handle.ts';
import { parseSecrets } from '../lib/webhook/secrets.ts';
import { configFrom, once, openQueues, secretFrom } from './aws.ts';
import { isDirect } from './http.ts';
import { MissingConfiguration } from './kept.ts';
import { signalOf } from './signal.ts';
import { log, observed } from './telemetry.ts';

const wired = once(() => {
  const env = readEnvironment(process.env, 'config', 'resolveQueue', 'webhookSecrets');
  return {
    config: configFrom(env.config),
    queues: openQueues({ resolve: env.resolveQueue }),
    secrets: secretFrom(env.webhookSecrets, (text) => parseSecrets(text, 'the webhook secret')),
  };
});

/** Handles a registry's webhook from the function URL, or a push to ECR from EventBridge. */
export const handler = (event: unknown, context: Context): Promise<Answer | undefined> =>
  observed(context, async () => {
    const isWebhook = isDirect(event);
    if (!isWebhook && !(isRecord(event) && typeof event['detail-type'] === 'string'))
      throw invalid(
        'read event',
        'expected a request of the function URL or an event of EventBridge; send an HTTP request instead of invoking the function',
      );
    const { config, queues, secrets } = wired();
    const signal = signalOf(context);
    if (isWebhook)
      return handleWebhook(event, {
        secrets,
        config,
        send: (messages) => queues.send('resolve', messages, { signal }),
        log,
      });
    const read = await config().catch((error: unknown) => {
      if (!(error instanceof MissingConfiguration)) throw error;
      // A deployment may not have its configuration yet; the first run reads all tags.
      log('warn', 'ECR event not handled', { reason: error.message });
      return undefined;
    });
    if (read === undefined) return undefined;
    const { messages, entry } = decideEcr(event, read);
    await queues.send('resolve', messages, { signal });
    log(entry['kind'] === 'refused' ? 'warn' : 'info', 'ECR event', entry);
    return undefined;
  });
