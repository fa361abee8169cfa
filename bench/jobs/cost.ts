/** The cost of unchanged tags and of mirrored bytes on AWS: counted requests and measured GB-seconds, at list prices. */
import { gzipSync } from 'node:zlib';
import { generated, repeated } from '../../test/kit/content.ts';
import { counting } from '../../test/kit/counting.ts';
import { generatedLayer, makeImage } from '../../test/kit/images.ts';
import { knownTags } from '../../test/kit/known-tags.ts';
import { buildBundles, Stack } from '../../test/kit/lambda/stack.ts';
import { startRegistry } from '../../test/kit/registry.ts';
import { startS3Server } from '../../test/kit/s3-server.ts';
import { startElasticMq } from '../../test/kit/sqs-server.ts';
import type { Job } from '../kit/bench.ts';
import { billFor, billTable } from '../kit/bill.ts';

const TAGS = 1_000;
const LAYER_BYTES = 1e9;

export const cost: Job = async () => {
  const title = 'The cost on AWS';
  await using bundles = await buildBundles();
  await using registry = await startRegistry();
  const s3 = await startS3Server();
  if ('skipped' in s3) return { title, sections: [`Skipped: ${s3.skipped}.`] };
  await using _s3 = s3;
  const sqs = await startElasticMq();
  if ('skipped' in sqs) return { title, sections: [`Skipped: ${sqs.skipped}.`] };
  await using _sqs = sqs;
  await using counted = await counting(s3, sqs);

  const layer = await large();
  registry.push('bench/large', makeImage({ layers: [layer] }), 'latest');
  const mirrors = ['many', 'large'].map((name) => `  - source: ${registry.host}/bench/${name}\n    tags: all\n`);
  const config = `version: 1\nmirrors:\n${mirrors.join('')}`;
  const limits = { layerTimeoutMs: 900_000, visibilitySeconds: 1_200 };
  await using stack = await Stack.start({ bundles, sqs: counted.sqs, s3: counted.s3, config, ...limits });
  await knownTags(registry, stack.archive, 'bench/many', TAGS);

  // A manual request for each repository; the first request also starts the sandboxes.
  const ask = (name: string) => () =>
    stack.functions.resolver.invoke({ references: [`${registry.host}/bench/${name}`] });
  process.stderr.write(`a layer of ${layer.size} bytes\n`);
  const mirrored = await billFor(stack, counted, ask('large'));
  process.stderr.write(`${TAGS} unchanged tags\n`);
  const unchanged = await billFor(stack, counted, ask('many'));
  return {
    title,
    sections: [
      `Measured once: the built bundles under Lambda's runtime client, on ElasticMQ and versitygw behind proxies that count. All of them, and the
registry, share this machine's processors, and upstream is as far away as loopback: on Lambda, whose processors differ, a
slower registry makes invocations longer. Prices are list prices of us-east-1 (\`bench/kit/prices.ts\`) without the free tier.`,
      `## An image with one new layer of ${(layer.size / 1e9).toFixed(2)} GB, which unpacks to twice that`,
      billTable(mirrored),
      `## ${TAGS} unchanged tags of one repository`,
      billTable(unchanged),
    ],
  };
};

/** A layer that is generated while it is read. */
async function large(): ReturnType<typeof generatedLayer> {
  const size = 8e6;
  const digits = Buffer.concat(await Array.fromAsync(generated({ size, seed: 1, compressible: true }).read(0, size)));
  const member = gzipSync(digits, { level: 1 });
  const times = Math.round(LAYER_BYTES / member.length);
  return await generatedLayer(repeated(member, times), repeated(digits, times), 'gzip');
}
