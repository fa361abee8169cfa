import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');

/**
 * What follows from the parameters in serverless.yml, and is said in more than one place. Refuses, before anything is
 * deployed, what could not work. Called by osls: `${file(infra/settings.js):settings}`.
 *
 * @param {{ resolveVariable: (variable: string) => Promise<unknown> }} osls
 */
export async function settings({ resolveVariable }) {
  const refuse = (message) => {
    // Without a stack, which osls would print instead of the message.
    throw Object.assign(new Error(message), { stack: message });
  };
  const text = async (name) => String(await resolveVariable(`param:${name}`));
  const number = async (name, min, max) => {
    const value = Number(await text(name));
    if (!Number.isInteger(value) || value < min || value > max)
      refuse(`param ${name}: a whole number from ${min} to ${max}, not '${await text(name)}'`);
    return value;
  };
  const choice = async (name, choices) => {
    const chosen = await text(name);
    if (!Object.hasOwn(choices, chosen))
      refuse(`param ${name}: one of ${Object.keys(choices).join(', ')}, not '${chosen}'`);
    return choices[chosen];
  };

  const [bucket, existing, prefix] = [await text('bucket'), await text('existingBucket'), await text('prefix')];
  if (bucket !== '' && existing !== '')
    refuse('params bucket and existingBucket: one bucket is either created or there already');
  if (prefix !== '' && !/^([A-Za-z0-9._-]+\/)+$/.test(prefix))
    refuse(`param prefix: empty, or a path that ends with a slash: mirror/; not '${prefix}'`);

  const name = existing === '' ? '${ArchiveBucket}' : existing;
  const url = (path) =>
    existing === '' ? { 'Fn::Sub': `s3://${name}/${prefix}${path}` } : `s3://${name}/${prefix}${path}`;
  const objects = (path) => ({ 'Fn::Sub': `arn:\${AWS::Partition}:s3:::${name}/${prefix}${path}` });

  const credentials = await text('credentialsSecret');
  const topic = await text('alarmTopic');
  const timeouts = {
    resolver: await number('resolverTimeout', 1, 900),
    layer: await number('layerTimeout', 1, 900),
    finalizer: await number('finalizerTimeout', 1, 900),
  };

  // With a single delivery any hiccup would be the end of a message; SQS takes no more than a thousand.
  await number('maxReceives', 2, 1000);
  await number('lanes', 1, 64);
  const config = await choice('config', { bucket: url('config/mirror.yaml'), bundled: 'mirror.yaml' });
  if (config === 'mirror.yaml') await readBundled(refuse);

  return {
    // Files of this folder, or nothing, where what they make is there already.
    resources: {
      bucket: existing === '' ? '${file(infra/bucket.yml)}' : {},
      credentials: credentials === '' ? '${file(infra/credentials.yml)}' : {},
      ecr: await choice('ecrPull', { on: '${file(infra/ecr.yml)}', off: {} }),
    },
    bucketName: bucket === '' ? { Ref: 'AWS::NoValue' } : bucket,
    bucketArn: { 'Fn::Sub': `arn:\${AWS::Partition}:s3:::${name}` },
    archive: url(''),
    config,
    objects: {
      config: objects('config/mirror.yaml'),
      blobs: objects('blobs/*'),
      receipts: objects('.mirror/receipts/*'),
      runs: objects('.mirror/runs/*'),
      repositories: objects('repositories/*'),
    },
    credentialsSecret: credentials === '' ? { Ref: 'CredentialsSecret' } : credentials,
    alarmActions: topic === '' ? [] : [topic],
    webhookUrl: await choice('webhooks', { on: true, off: false }),
    timeouts,
    // How long a message is out of sight after it was handed out, in seconds: what it waits for behind a sandbox that was
    // killed (one that failed is put off by its handler). AWS advises six times the function's timeout, for invocations
    // that Lambda throttles and tries again meanwhile. Not so for layers: that would be 90 minutes for a lane behind one
    // sandbox that ran out of memory. There a batch is one message, the function stops itself before its timeout, and
    // maximumConcurrency keeps Lambda from taking messages that it cannot start: five minutes are left for throttling,
    // and two functions at one blob would be waste, not damage.
    visibility: {
      resolve: 6 * timeouts.resolver,
      layer: timeouts.layer + 300,
      finalize: 6 * timeouts.finalizer,
    },
  };
}

/** A bundle without a configuration, or with one that the functions refuse, would be found out by the first run. */
async function readBundled(refuse) {
  const path = join(ROOT, 'mirror.yaml');
  const text = await readFile(path, 'utf8').catch(() =>
    refuse(`param config: bundled, but there is no ${path}; docs/configuration.md says what may stand in it`),
  );
  const { parseConfig } = await import('../lib/config/config.ts');
  try {
    parseConfig(text, 'mirror.yaml');
  } catch (error) {
    refuse(error.message);
  }
}
