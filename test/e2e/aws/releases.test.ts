import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readRun } from '../../../lib/sync/reports.ts';
import { resolveMessage } from '../../../lib/queue/outgoing.ts';
import { serialise } from '../../../lib/queue/parse.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { describeOnAws } from '../../kit/lambda/on-aws.ts';
import { saidIn } from '../../kit/lambda/told.ts';
import { recordOf } from '../../kit/records.ts';
import { startRegistry } from '../../kit/registry.ts';
import { digestFor } from '../../unit/queue/samples.ts';

const FOLDER = join(import.meta.dirname, '../../messages/1-a7e154c');
const DEAD = ['dead resolve', 'dead layer', 'dead finalize'];

await describeOnAws('messages of other releases', ({ start }) => {
  test('of the first release are handled, for each kind', async () => {
    await using registry = await startRegistry();
    const layer = makeLayer({ seed: 1 });
    const image = makeImage({ layers: [layer] });
    const digest = registry.push('team/app', image, 'v1');
    const source = `${registry.host}/team/app`;
    await using stack = await start({ config: `version: 1\nmirrors:\n  - source: ${source}\n    tags: all\n` });
    /** The message with the names of this registry and its image. */
    const message = async (name: string): Promise<string> =>
      (await readFile(join(FOLDER, `${name}.json`), 'utf8'))
        .replaceAll('registry.example', registry.host)
        .replaceAll(digestFor('manifest'), digest)
        .replaceAll(digestFor('layer'), layer.digest)
        .replaceAll('"size":401', `"size":${image.manifest.length}`)
        .replaceAll('"size":402', `"size":${layer.size}`);
    const tags = async () =>
      (await stack.archive.tagIndex(source))?.index.entries().flatMap(({ tag }) => tag ?? []) ?? [];

    // The first message leads to the work of resolver, layer and finalizer. The others find that the work is done.
    await stack.send('resolve', await message('resolve-images'), 'registry#1');
    await stack.drained();
    expect(await tags()).toEqual(['v1']);
    for (const [queue, name] of [
      ['resolve', 'resolve-list'],
      ['layer', 'layer'],
      ['layer', 'layer-continued'],
      ['finalize', 'finalize'],
      ['finalize', 'finalize-failed'],
    ] as const)
      await stack.send(queue, await message(name), name);
    await stack.drained();
    expect(await tags()).toEqual(['v1']);
    const { run } = JSON.parse(await message('finalize')) as { run: string };
    const reports = await readRun(stack.archive, run);
    expect(reports.find(({ reference }) => reference === `${source}:v1`)).toMatchObject({ status: 'mirrored', digest });
    expect(reports.find(({ reference }) => reference === `${source}:v2`)).toMatchObject({ code: 'denied' });
    for (const queue of DEAD) expect(stack.batches(queue)).toEqual([]);
  }, 120_000);

  test('of a later release are handled, wait, or fail their images, and are never lost', async () => {
    await using registry = await startRegistry();
    const digest = registry.push('team/app', makeImage({ layers: [makeLayer({ seed: 1 })] }), 'v1');
    const source = `${registry.host}/team/app`;
    const order = { run: 'request-1', source, repository: source, platforms: 'all' as const };
    await using stack = await start({
      config: `version: 1\nmirrors:\n  - source: ${source}\n    tags: all\n`,
      maxReceives: 2,
    });
    const { message } = resolveMessage(order, { kind: 'images', images: [{ tag: 'v1' }] });
    const later = (change: object): string => serialise({ ...message, ...change });

    // An additional field is ignored.
    await stack.send('resolve', later({ priority: 'high' }), 'a');
    await stack.drained();
    expect((await stack.archive.tagIndex(source))?.index.byTag('v1')).toMatchObject({ digest });

    // Another version in each queue waits beyond its two deliveries, and does not block its group permanently.
    const { resolver, layer, finalizer } = stack.functions;
    for (const queue of ['resolve', 'layer', 'finalize'] as const)
      await stack.send(queue, later({ version: 3 }), 'later');
    for (const lambda of [resolver, layer, finalizer])
      await lambda.logged((lines) => saidIn(lines).filter(({ message: said }) => said === 'message waits').length >= 3);
    for (const queue of ['resolve', 'layer', 'finalize']) expect(await stack.waiting(queue)).toBe(1);
    for (const queue of DEAD) expect(stack.batches(queue)).toEqual([]);

    // After four days it becomes a dead letter, and its image has failed.
    const Records = [recordOf(later({ version: 3, run: 'request-2' }))];
    expect((await stack.functions['dead-letters'].invoke({ Records })).outcome).toEqual({
      payload: { batchItemFailures: [] },
    });
    expect(await readRun(stack.archive, 'request-2')).toMatchObject([
      { reference: `${source}:v1`, status: 'failed', code: 'unsupported' },
    ]);
    expect(stack.events.filter(({ type }) => type === 'Image Failed')).toHaveLength(1);
  }, 180_000);
});
