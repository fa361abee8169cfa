import { PATIENT } from '../lib/core/retry.ts';
import { type Config, registrySettings } from '../lib/config/mirrors.ts';
import { type Credentials, NO_CREDENTIALS, parseDockerConfig, renamed } from '../lib/registry/auth/credentials.ts';
import { proxyFrom } from '../lib/registry/http/proxy.ts';
import type { Sources } from '../lib/registry/source.ts';
import { createSources, type SourcesOptions } from '../lib/registry/sources.ts';
import { type ReadConfig, secretFrom } from './aws.ts';
import { EcrCredentials } from './ecr.ts';

/** The connections for the ranges of one layer; a registry has one layer in flight per lane. */
const RANGES_SIDE_BY_SIDE = 4;

interface Current {
  readonly config: Config;
  readonly given: Credentials;
  readonly ecr: EcrCredentials;
  readonly sources: Sources;
}

/** Creates registry clients, and recreates them when the configuration or the credentials have changed or expired. */
export function sourcesFrom(
  config: ReadConfig,
  credentialsSecret: string | undefined,
  options: { readonly lanes: number; readonly onRetry: NonNullable<SourcesOptions['onRetry']> },
): () => Promise<Sources> {
  const secret =
    credentialsSecret === undefined
      ? () => Promise.resolve(NO_CREDENTIALS)
      : secretFrom(credentialsSecret, (text) => parseDockerConfig(text, 'the credentials secret'));
  let current: Current | undefined;
  return async () => {
    const [read, given] = await Promise.all([config(), secret()]);
    if (current?.config === read && current.given === given && !current.ecr.stale) return current.sources;
    await current?.sources.close();
    const settings = registrySettings(read, options.lanes);
    const ecr = new EcrCredentials(given);
    const sources = createSources({
      ...settings,
      credentials: renamed(ecr, settings.credentials),
      proxy: proxyFrom(process.env),
      connections: RANGES_SIDE_BY_SIDE,
      // For longer waits the queue postpones the message, which costs nothing.
      longestWaitMs: PATIENT.capMs,
      onRetry: options.onRetry,
    });
    current = { config: read, given, ecr, sources };
    return sources;
  };
}
