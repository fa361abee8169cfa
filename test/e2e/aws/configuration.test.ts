import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { listRuns, readRun } from '../../../lib/sync/reports.ts';
import { readRunStart } from '../../../lib/sync/runs.ts';
import type { Digest } from '../../../lib/oci/digest.ts';
import { resolveMessage } from '../../../lib/queue/outgoing.ts';
import { serialise } from '../../../lib/queue/parse.ts';
import { mirrorSync } from '../../kit/command-line.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { describeOnAws } from '../../kit/lambda/on-aws.ts';
import type { Stack } from '../../kit/lambda/stack.ts';
import { metricsIn, saidIn } from '../../kit/lambda/told.ts';
import { startRegistry } from '../../kit/registry.ts';
import { tempFolder } from '../../kit/temp.ts';

const PATH = 'team/app';
const DEAD = ['dead resolve', 'dead layer', 'dead finalize'];

/**
 * The clock of every sandbox is a minute slow until this file exists. Then everything that is kept for a minute
 * expires. A fast clock would take the time that Lambda gives from every invocation.
 */
function laterOnce(file: string): string {
  const script = `import { existsSync } from 'node:fs'; const now = Date.now;
    Date.now = () => now() - (existsSync(${JSON.stringify(file)}) ? 0 : 61_000);`;
  return `--import=data:text/javascript,${encodeURIComponent(script)}`;
}

async function tagsOf(stack: Stack, repository: string): Promise<Record<string, Digest>> {
  const entries = (await stack.archive.tagIndex(repository))?.index.entries() ?? [];
  return Object.fromEntries(entries.flatMap(({ tag, digest }) => (tag === undefined ? [] : [[tag, digest]])));
}

const waitsIn = (lines: readonly string[]): number =>
  saidIn(lines).filter(({ message }) => message === 'message waits').length;

await describeOnAws('the configuration', ({ start, s3 }) => {
  test('can become invalid without failing an image, in warm sandboxes and in cold ones', async () => {
    await using registry = await startRegistry();
    await using folder = await tempFolder();
    const source = `${registry.host}/${PATH}`;
    const good = `version: 1\nmirrors:\n  - source: ${source}\n    tags: all\n`;
    const bad = good.replace('tags:', 'tgas:');
    const expected: Record<string, Digest> = {};
    const push = (tag: string): void => {
      const image = makeImage({ layers: [makeLayer({ seed: Object.keys(expected).length + 1 })] });
      expected[tag] = registry.push(PATH, image, tag);
    };
    const order = { run: 'request-1', source, repository: source, platforms: 'all' as const };
    push('first');
    await using stack = await start({
      config: good,
      maxReceives: 2,
      environment: { NODE_OPTIONS: laterOnce(folder.join('later')) },
    });
    const { resolver, layer } = stack.functions;
    const ask = async (tag: string): Promise<void> => {
      push(tag);
      const { message, group } = resolveMessage(order, { kind: 'images', images: [{ tag }] });
      await stack.send('resolve', serialise(message), group);
    };
    await stack.schedule('first');
    await stack.drained();

    // Warm sandboxes read the invalid file a minute later, and keep the last good one.
    await stack.configure(bad);
    await writeFile(folder.join('later'), '');
    await ask('warm');
    await stack.drained();
    expect(await tagsOf(stack, source)).toEqual(expected);
    for (const lambda of [resolver, layer]) {
      await lambda.logged((lines) => (metricsIn(lines)['ConfigurationRefused'] ?? 0) > 0);
      const refused = saidIn(lambda.logs).find(({ message }) => message === 'configuration refused');
      expect(refused).toMatchObject({
        level: 'ERROR',
        reason: expect.stringMatching(/config\/mirror\.yaml:4:5: /),
        then: 'the last valid one stays in use',
      });
    }

    // A cold layer function behind a warm resolver, then a cold resolver: each message has two deliveries and more.
    await layer.cool();
    await ask('behind');
    await layer.logged((lines) => waitsIn(lines) >= 2);
    await resolver.cool();
    await ask('cold');
    await resolver.logged((lines) => waitsIn(lines) >= 2);
    const { behind: _, cold: __, ...before } = expected;
    expect(await tagsOf(stack, source)).toEqual(before);
    await stack.configure(good);
    await stack.drained();
    expect(await tagsOf(stack, source)).toEqual(expected);
    for (const run of await listRuns(stack.archive))
      expect((await readRun(stack.archive, run)).map(({ status }) => status)).not.toContain('failed');
    for (const queue of DEAD) expect(stack.batches(queue)).toEqual([]);
    expect(metricsIn(resolver.logs)['MessagesFailed']).toBeUndefined();
  }, 240_000);

  test('may be missing when the schedule starts a run, which ends with a warning and without an error', async () => {
    await using stack = await start({ config: '' });
    await stack.unconfigure();
    const { outcome } = await stack.schedule('early');
    expect(outcome).toMatchObject({ payload: { messages: 0 } });
    const { resolver } = stack.functions;
    await resolver.logged((lines) => saidIn(lines).some(({ message }) => message === 'run not started'));
    expect(saidIn(resolver.logs)).toMatchObject([
      {
        level: 'WARN',
        message: 'run not started',
        reason: expect.stringContaining('config/mirror.yaml does not exist'),
      },
    ]);
    expect(metricsIn(resolver.logs)).toEqual({});
  }, 60_000);

  test('leads to messages only once for three schedules, each of which is recorded', async () => {
    await using registry = await startRegistry();
    const source = `${registry.host}/${PATH}`;
    const expected: Record<string, Digest> = {};
    for (const seed of [1, 2, 3])
      expected[`v${seed}`] = registry.push(PATH, makeImage({ layers: [makeLayer({ seed })] }), `v${seed}`);
    const layers = Promise.withResolvers<void>();
    await using stack = await start({
      config: `version: 1\nmirrors:\n  - source: ${source}\n    tags: all\n`,
      layersEnabled: layers.promise,
    });
    const runs: string[] = [];
    for (const name of ['one', 'two', 'three']) {
      const { outcome } = await stack.schedule(name);
      runs.push((outcome as { payload: { run: string } }).payload.run);
      await stack.drained('resolve');
      expect(await stack.waiting('layer')).toBe(3);
    }
    const { resolver } = stack.functions;
    const leftOut = (lines: readonly string[]) =>
      saidIn(lines).filter(({ message }) => message === 'queued by an earlier run');
    await resolver.logged((lines) => leftOut(lines).length === 2);
    expect(leftOut(resolver.logs)).toMatchObject([
      { run: runs[1], repository: source, images: 3 },
      { run: runs[2], repository: source, images: 3 },
    ]);
    layers.resolve();
    await stack.drained();
    expect(await tagsOf(stack, source)).toEqual(expected);

    // A run with only unchanged images is recorded as well: by one object, and by its event.
    const { outcome } = await stack.schedule('unchanged');
    const { run } = (outcome as { payload: { run: string } }).payload;
    await stack.drained();
    expect(await readRun(stack.archive, run)).toEqual([]);
    expect(await readRunStart(stack.archive, run)).toMatchObject({ by: 'schedule', messages: 1, repositories: 1 });
    const started = stack.events.filter(({ type }) => type === 'Run Started').map(({ detail }) => detail['run']);
    expect(started).toEqual([...runs, run]);
    await resolver.logged((lines) => metricsIn(lines)['ImagesUnchanged'] === 3);
    const shown = await mirrorSync(['status', stack.archive.store.name, run], s3.env);
    expect(shown.code).toBe(0);
    expect(shown.stdout).toMatch(
      new RegExp(`^run ${run}, started .* for 1 repository\\n0 mirrored, 0 failed, 0 pending`),
    );
  }, 120_000);
});
