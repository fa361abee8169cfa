import { expect, test } from 'vitest';
import { heldFor } from '../../../lib/archive/tag-index/withheld.ts';
import { resolveMessage } from '../../../lib/queue/outgoing.ts';
import { serialise } from '../../../lib/queue/parse.ts';
import { readRun } from '../../../lib/sync/reports.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { describeOnAws } from '../../kit/lambda/on-aws.ts';
import { startRegistry } from '../../kit/registry.ts';

const DAY = 86_400_000;
const DEAD = ['dead resolve', 'dead layer', 'dead finalize'];

await describeOnAws('a policy', ({ start }) => {
  test('holds digests after the first run by the schedule, and the roles of the functions suffice for it', async () => {
    await using registry = await startRegistry();
    const source = `${registry.host}/team/app`;
    const push = (tag: string, seed: number) =>
      registry.push('team/app', makeImage({ layers: [makeLayer({ seed })] }), tag);
    const first = push('1', 1);
    const policy = '    policy: { minimumAge: 7d, initial: accept, moved: follow }\n';
    await using stack = await start({
      config: `version: 1\nmirrors:\n  - source: ${source}\n    tags: all\n${policy}`,
    });
    const index = async () => (await stack.archive.tagIndex(source))?.index;
    await stack.schedule('first');
    await stack.drained();
    expect((await index())?.byTag('1')?.digest).toBe(first);
    expect((await index())?.control).toMatchObject({ policy: { minimumAgeMs: 7 * DAY }, initial: 'open' });

    expect((await stack.functions.runs.invoke({})).outcome).toEqual({ payload: { closed: 1 } });
    await stack.drained();
    expect((await index())?.control.initial).toEqual(expect.any(Number));

    const [moved, added] = [push('1', 2), push('2', 3)];
    const { outcome } = await stack.schedule('second');
    await stack.drained();
    const after = await index();
    expect(after?.entries().map(({ tag, digest }) => [tag, digest])).toEqual([['1', first]]);
    expect([heldFor(after!, '1'), heldFor(after!, '2')].map((held) => held?.entry.digest)).toEqual([moved, added]);
    const reports = await readRun(stack.archive, (outcome as { payload: { run: string } }).payload.run);
    expect(reports.map(({ status, digest }) => [status, digest])).toEqual([
      ['held', moved],
      ['held', added],
    ]);
    // Neither a push nor a client of the registry can show what the schedule holds.
    for (const run of ['webhook-1', 'fill-1']) {
      const order = { run, source, repository: source, platforms: 'all' as const };
      const { message, group } = resolveMessage(order, { kind: 'images', images: [{ tag: '1' }, { tag: '2' }] });
      await stack.send('resolve', serialise(message), group);
    }
    await stack.drained();
    expect((await index())?.entries().map(({ tag, digest }) => [tag, digest])).toEqual([['1', first]]);
    for (const queue of DEAD) expect(stack.batches(queue)).toEqual([]);
  }, 120_000);
});
