/** The settings of mirror.yaml in the registry clients of the functions. */
import { expect, test } from 'vitest';
import { sourcesFrom } from '../../../functions/sources.ts';
import { parseConfig } from '../../../lib/config/config.ts';
import { digestOf } from '../../../lib/oci/digest.ts';
import type { Sources } from '../../../lib/registry/source.ts';
import { randomBytes } from '../../kit/content.ts';
import { serveHttp } from '../../kit/http-server.ts';
import { startRegistry } from '../../kit/registry.ts';

const BYTES = randomBytes(1000, 1);
const DIGEST = digestOf(BYTES);

/** Registry clients of a configuration with these lines. */
function sourcesOf(host: string, ...lines: string[]): Promise<Sources> {
  const text = ['version: 1', ...lines, `mirrors: [{ source: '${host}/team/app', tags: all }]`].join('\n');
  const config = parseConfig(text, 'mirror.yaml');
  return sourcesFrom(() => Promise.resolve(config), undefined, { lanes: 4, onRetry: () => undefined })();
}

test('the functions fetch foreign layers from foreignHosts', async () => {
  await using registry = await startRegistry();
  await using cdn = await serveHttp(() => [200, {}, BYTES]);
  const fetchFrom = async (hosts: string): Promise<void> => {
    const sources = await sourcesOf(registry.host, `defaults: { foreignHosts: [${hosts}] }`);
    try {
      const source = sources.repository({ host: registry.host, path: 'team/app' });
      const options = { size: BYTES.length, urls: [`http://0.0.0.0:${cdn.port}/layer`] };
      const { body } = await source.blob(DIGEST, options).open({ start: 0 });
      await Array.fromAsync(body);
    } finally {
      await sources.close();
    }
  };
  await expect(fetchFrom('mcr.microsoft.com')).rejects.toThrow();
  expect(cdn.requests).toEqual([]);
  await fetchFrom('0.0.0.0');
  expect(cdn.requests).toHaveLength(1);
});
