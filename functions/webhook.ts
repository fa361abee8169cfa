import type { APIGatewayProxyEventV2, Context, EventBridgeEvent } from 'aws-lambda';
import { readEnvironment } from '../lib/config/environment.ts';
import { type Answer, decideEcr, handleWebhook } from '../lib/webhook/handle.ts';
import { parseSecrets } from '../lib/webhook/secrets.ts';
import { configFrom, once, openQueues, secretFrom } from './aws.ts';
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
export const handler = (
  event: APIGatewayProxyEventV2 | EventBridgeEvent<'ECR Image Action', unknown>,
  context: Context,
): Promise<Answer | undefined> =>
  observed(context, async () => {
    const { config, queues, secrets } = wired();
    const signal = signalOf(context);
    if ('rawPath' in event)
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
    log('info', 'ECR event', entry);
    return undefined;
  });
