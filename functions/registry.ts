import type { Context } from 'aws-lambda';
import { readEnvironment } from '../lib/config/environment.ts';
import { Registry } from '../lib/serve/registry.ts';
import { parseTokens, tokenLogins } from '../lib/serve/tokens.ts';
import { once, openArchive, secretFrom } from './aws.ts';
import { type HttpEvent, type HttpResult, MAX_BODY_BYTES, requestOf, resultOf } from './http.ts';
import { signalOf } from './signal.ts';
import { log, observed, onServed } from './telemetry.ts';

/** The entries of tag indexes in memory, about 50 MB. */
const KEPT_ENTRIES = 50_000;

const wired = once(() => {
  const { archive, registryTokens, registryDefaultHost } = readEnvironment(
    process.env,
    'archive',
    'registryTokens',
    'registryDefaultHost',
  );
  return new Registry({
    archive: openArchive(archive, KEPT_ENTRIES),
    defaultHost: registryDefaultHost,
    maxBodyBytes: MAX_BODY_BYTES,
    logins:
      registryTokens === 'public'
        ? undefined
        : tokenLogins(secretFrom(registryTokens, (text) => parseTokens(text, 'the tokens secret'))),
    onFault: (reason) => {
      log('error', 'fault', { reason });
    },
  });
});

/** Answers a registry client, from the function URL or from a load balancer. */
export const handler = (event: HttpEvent, context: Context): Promise<HttpResult> =>
  observed(context, async () => {
    const started = performance.now();
    const { request, target, method, client } = requestOf(event, signalOf(context));
    const served = await wired().serve(request, target);
    const result = await resultOf(event, served.response);
    onServed(served, {
      client,
      method,
      target,
      status: result.statusCode,
      bytes: Buffer.byteLength(result.body, result.isBase64Encoded ? 'base64' : 'utf8'),
      ms: Math.round(performance.now() - started),
    });
    return result;
  });
