import { expect, test } from 'vitest';
import { readRun } from '../../../lib/sync/reports.ts';
import { verifyArchive } from '../../../lib/upkeep/verify.ts';
import type { Digest } from '../../../lib/oci/digest.ts';
import { chance } from '../../kit/chance.ts';
import { mirrorSync } from '../../kit/command-line.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import type { S3Fault } from '../../kit/lambda/gate.ts';
import { describeOnAws } from '../../kit/lambda/on-aws.ts';
import { metricsIn } from '../../kit/lambda/told.ts';
import { poisoned } from '../../kit/poisoned.ts';
import { errorBody, startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { sharedImage } from '../../kit/shared-images.ts';

const IMAGES = 20;
const REPOSITORIES = ['team/app', 'team/tool'] as const;
const DEAD = ['dead resolve', 'dead layer', 'dead finalize'];

/** One request to S3 in ten fails, each in one of these ways. */
const S3_FAULTS: readonly S3Fault[] = [500, 503, 'cut', 'lost'];

function all(registry: TestRegistry): string {
  const mirrors = REPOSITORIES.map((path) => `  - source: ${registry.host}/${path}\n    tags: all\n`);
  return `version: 1\nmirrors:\n${mirrors.join('')}`;
}

await describeOnAws('on AWS, in trouble', ({ start, s3 }) => {
  // A sandbox is killed in the middle of a layer, another one runs into its timeout, the registry answers 429, S3
  // fails at random, every third message is delivered twice, and batches of different groups overtake each other.
  test('every image is mirrored once, and no message is dead, in spite of random faults', async () => {
    await using registry = await startRegistry();
    const expected = new Map<string, Record<string, Digest>>(REPOSITORIES.map((path) => [path, {}]));
    const images = Array.from({ length: IMAGES }, (_, index) => sharedImage(index));
    for (const [index, image] of images.entries()) {
      const path = REPOSITORIES[index % REPOSITORIES.length]!;
      expected.get(path)![`v${index}`] = registry.push(path, image, `v${index}`);
    }
    const stall = (index: number) =>
      registry.misbehave({
        match: { digest: images[index]!.layers.at(-1)!.digest },
        times: 1,
        do: { stallAfter: 1000 },
      });
    const killed = stall(0);
    const late = stall(1);
    for (const kind of ['manifest', 'blob'] as const)
      registry.misbehave({
        match: { kind, method: 'GET' },
        after: 2,
        times: 3,
        do: { status: 429, headers: { 'retry-after': '1' }, body: errorBody('TOOMANYREQUESTS', 'later') },
      });
    const random = chance(20_261_125);
    const faults: S3Fault[] = [];
    let received = 0;
    await using stack = await start({
      config: all(registry),
      layerTimeoutMs: 12_000,
      visibilitySeconds: 15,
      again: ({ attributes }) => attributes.ApproximateReceiveCount === '1' && (received += 1) % 3 === 0,
      heldBackMs: () => random() * 300,
      s3Fault: () => {
        if (random() >= 0.1) return undefined;
        faults.push(S3_FAULTS[Math.floor(random() * S3_FAULTS.length)]!);
        return faults.at(-1);
      },
    });
    await stack.schedule('trouble');
    await killed.begun;
    stack.functions.layer.kill();
    await late.begun;
    await stack.drained();

    for (const [path, tags] of expected) {
      const read = await stack.archive.tagIndex(`${registry.host}/${path}`);
      const entries = read?.index.entries().map(({ tag, digest }) => [tag, digest]) ?? [];
      expect(entries).toHaveLength(IMAGES / REPOSITORIES.length);
      expect(Object.fromEntries(entries)).toEqual(tags);
    }
    const verified = await verifyArchive(stack.archive, { signal: AbortSignal.timeout(60_000), concurrency: 2 });
    expect(verified.problems).toEqual([]);
    expect(stack.functions.layer.invocations.some(({ outcome }) => 'error' in outcome)).toBe(true);
    expect(new Set(faults)).toEqual(new Set(S3_FAULTS));
    for (const queue of DEAD) expect(stack.batches(queue)).toEqual([]);
  }, 240_000);

  test('every kind of invalid image is a recorded failure without a tag', async () => {
    await using registry = await startRegistry();
    const good = registry.push('team/app', makeImage({ layers: [makeLayer({ seed: 7 })] }), 'good');
    for (const [index, poison] of poisoned().entries()) poison.push(registry, 'team/app', `bad${index}`);
    const sources = [`${registry.host}/team/app`, `${registry.host}/team/none`];
    const config = `version: 1\nmirrors:\n${sources.map((source) => `  - source: ${source}\n    tags: all\n`).join('')}`;
    await using stack = await start({ config });
    const { outcome } = await stack.schedule('poison');
    await stack.drained();

    const read = await stack.archive.tagIndex(`${registry.host}/team/app`);
    expect(read?.index.entries().map(({ tag, digest }) => [tag, digest])).toEqual([['good', good]]);
    const { run } = (outcome as { payload: { run: string } }).payload;
    const reports = await readRun(stack.archive, run);
    const expected: Record<string, string> = {
      ...Object.fromEntries(poisoned().map(({ code }, index) => [`team/app:bad${index}`, code])),
      // A missing repository is reported by its name.
      'team/none': 'name-unknown',
    };
    const shortName = (reference: unknown): string => String(reference).slice(registry.host.length + 1);
    const codes = reports.map(({ reference, status, code }) => [shortName(reference), code ?? status]);
    expect(Object.fromEntries(codes)).toEqual({ 'team/app:good': 'mirrored', ...expected });
    const told = stack.events
      .filter(({ type }) => type === 'Image Failed')
      .map(({ detail }) => [shortName(detail['reference']), detail['code']]);
    expect(Object.fromEntries(told)).toEqual(expected);
    for (const queue of DEAD) expect(stack.batches(queue)).toEqual([]);

    const { finalizer } = stack.functions;
    await finalizer.logged((lines) => metricsIn(lines)['ImagesFailed'] === told.length);
    await finalizer.logged((lines) => metricsIn(lines)['ImagesMirrored'] === 1);
    const metrics = metricsIn(finalizer.logs);
    for (const code of new Set(Object.values(expected)))
      expect(metrics[`ImagesFailedByCode ${code}`]).toBeGreaterThanOrEqual(
        Object.values(expected).filter((one) => one === code).length,
      );

    // The output for a user: each failed image with its reason, and an exit code.
    const shown = await mirrorSync(['status', stack.archive.store.name, run], s3.env);
    expect(shown.code).toBe(1);
    expect(shown.stdout).toContain(`mirrored  ${registry.host}/team/app:good`);
    for (const { reference, reason } of reports.filter(({ status }) => status === 'failed'))
      expect(shown.stdout).toContain(`failed    ${reference}: ${reason ?? ''}\n`);
    expect(shown.stdout).toContain(`1 mirrored, ${poisoned().length + 1} failed, 0 pending`);
  }, 120_000);
});
