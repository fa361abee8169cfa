import type { Context } from 'aws-lambda';
import { readEnvironment } from '../lib/config/environment.ts';
import { Registry } from '../lib/serve/registry.ts';
import { parseTokens, tokenLogins } from '../lib/serve/tokens.ts';
import { once, openArchive, secretFrom } from './aws.ts';
import { fillFrom } from './fill.ts';
import { type HttpEvent, type HttpResult, MAX_BODY_BYTES, requestOf, resultOf } from './http.ts';
import { signalOf } from './signal.ts';
import { log, observed, onServed } from './telemetry.ts';

/** The entries of tag indexes in memory, about 50 MB. */
const KEPT_ENTRIES = 50_000;

const wired = once(() => {
  const { env } = process;
  const { archive, registryTokens, registryDefaultHost, registryFill } = readEnvironment(
    env,
    'archive',
    'registryTokens',
    'registryDefaultHost',
    'registryFill',
  );
  const onFault = (reason: string): void => {
    log('error', 'fault', { reason });
  };
  const registry = new Registry({
    archive: openArchive(archive, KEPT_ENTRIES),
    defaultHost: registryDefaultHost,
    maxBodyBytes: MAX_BODY_BYTES,
    logins:
      registryTokens === 'public'
        ? undefined
        : tokenLogins(secretFrom(registryTokens, (text) => parseTokens(text, 'the tokens secret'))),
    onFault,
  });
  const fill = registryFill === 'on' ? fillFrom(readEnvironment(env, 'config', 'resolveQueue'), onFault) : undefined;
  return { registry, fill };
});

/** Answers a registry client, from the function URL or from a load balancer. */
export const handler = (event: HttpEvent, context: Context): Promise<HttpResult> =>
  observed(context, async () => {
    const started = performance.now();
    const { registry, fill } = wired();
    const { request, target, method, client } = requestOf(event, signalOf(context));
    const served = await registry.serve(request, target);
    const order = served.missingTag === undefined ? undefined : await fill?.request(served.missingTag);
    const result = await resultOf(event, served.response);
    onServed(served, {
      client,
      method,
      target,
      status: result.statusCode,
      bytes: Buffer.byteLength(result.body, result.isBase64Encoded ? 'base64' : 'utf8'),
      order,
      ms: Math.round(performance.now() - started),
    });
    return result;
  });
