import { PATIENT } from '../lib/core/retry.ts';
import { type Config, registrySettings } from '../lib/config/mirrors.ts';
import { type Credentials, NO_CREDENTIALS, parseDockerConfig } from '../lib/registry/auth/credentials.ts';
import { proxyFrom } from '../lib/registry/http/proxy.ts';
import type { Sources } from '../lib/registry/source.ts';
import { createSources, type SourcesOptions } from '../lib/registry/sources.ts';
import { type ReadConfig, secretFrom } from './aws.ts';
import { EcrCredentials } from './ecr.ts';

/** Connections over which one layer's ranges come; a registry has as many layers on their way as it has lanes. */
const RANGES_SIDE_BY_SIDE = 4;

interface Current {
  readonly config: Config;
  readonly given: Credentials;
  readonly ecr: EcrCredentials;
  readonly sources: Sources;
}

/** Registry clients as configuration and credentials have them now; made anew when either has changed, or has expired. */
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
    const { endpoints, insecure, privateAddresses, foreignHosts, tokenServices, credentials } = registrySettings(
      read,
      options.lanes,
    );
    const ecr = new EcrCredentials(given);
    const sources = createSources({
      credentials: renamed(ecr, credentials),
      endpoints,
      insecure,
      privateAddresses,
      foreignHosts,
      tokenServices,
      proxy: proxyFrom(process.env),
      connections: RANGES_SIDE_BY_SIDE,
      // What takes longer is the queue's to wait for: it postpones the message, and nobody is paid for sleeping.
      longestWaitMs: PATIENT.capMs,
      onRetry: options.onRetry,
    });
    current = { config: read, given, ecr, sources };
    return sources;
  };
}

function renamed(all: Credentials, nameFor: (host: string) => string | false): Credentials {
  return {
    async find(host, path, options) {
      const name = nameFor(host);
      return name === false ? undefined : all.find(name, path, options);
    },
    explain(host) {
      const name = nameFor(host);
      return name === false ? 'mirror.yaml says credentials: false' : all.explain?.(name);
    },
  };
}
