/** The time per tag and the memory, for growing numbers of tags. */
import { startRegistry } from '../../test/kit/registry.ts';
import { tempFolder } from '../../test/kit/temp.ts';
import type { Bench } from '../kit/bench.ts';
import { mirrorSync } from '../kit/contestants.ts';
import { tagged } from '../kit/images.ts';
import { measure, type Sample } from '../kit/measure.ts';
import { type Aim, megabytes, ratio, table } from '../kit/report.ts';
import { divided } from '../kit/standings.ts';

const COUNTS = [100, 1_000, 10_000];

interface Growth {
  readonly count: number;
  readonly first: Sample;
  readonly unchanged: Sample;
}

/** The registry is simulated, because pushing ten thousand images to a real one takes longer than mirroring them. */
export async function growthWithTags(
  bench: Bench,
): Promise<{ readonly sections: readonly string[]; readonly aims: readonly Aim[] }> {
  await using registry = await startRegistry();
  const grown: Growth[] = [];
  for (const count of COUNTS) {
    process.stderr.write(`${count} tags of a simulated registry\n`);
    for (const [tag, image] of tagged(count)) registry.push(`bench/tags-${count}`, image, tag);
    await using folder = await tempFolder();
    const argv = mirrorSync(
      'sync',
      '--all-tags',
      `${registry.host}/bench/tags-${count}`,
      '--to',
      folder.join('archive'),
    );
    const first = await measure({ argv }, bench.signal);
    const unchanged = await measure({ argv }, bench.signal);
    grown.push({ count, first, unchanged });
  }
  const rows = grown.map(({ count, first, unchanged }) => [
    String(count),
    ...[ratio((first.wallSeconds * 1000) / count), megabytes(first.peakBytes)],
    ...[ratio((unchanged.wallSeconds * 1000) / count), megabytes(unchanged.peakBytes)],
  ]);
  const head = ['tags', 'first sync, a tag, ms', 'peak RSS, MB', 'nothing new, a tag, ms', 'peak RSS, MB'];
  const sections = ['## More tags, from a simulated registry (each measured once)', table(head, rows)];
  return { sections, aims: aimsOf(grown) };
}

function aimsOf(grown: readonly Growth[]): Aim[] {
  const [fewest] = grown;
  const [fewer, most] = grown.slice(-2);
  const perTag = (growth: Growth | undefined): number | undefined => divided(growth?.first.wallSeconds, growth?.count);
  return [
    // Linear growth is 1; it is less at first, because the cost of the start is constant.
    {
      what: `first sync: time of a tag among ${String(most?.count)}, of one among ${String(fewer?.count)}`,
      is: divided(perTag(most), perTag(fewer)),
      wanted: { atMost: 1 },
    },
    {
      what: `first sync: peak RSS of ${String(most?.count)} tags, of that of ${String(fewest?.count)}`,
      is: divided(most?.first.peakBytes, fewest?.first.peakBytes),
      wanted: { atMost: 1.1 },
    },
  ];
}
