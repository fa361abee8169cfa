import { globSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packaged } from '../../kit/packaged.ts';

const ROOT = join(import.meta.dirname, '../../..');

test('docs/cost.md counts the metrics that the functions write', async () => {
  const files = globSync('functions/*.ts', { cwd: ROOT });
  const sources = await Promise.all(files.map((file) => readFile(join(ROOT, file), 'utf8')));
  const names = sources.flatMap((source) =>
    [...source.matchAll(/addMetric\(([^;]*?)MetricUnit/g)].flatMap(([, first = '']) => [
      ...first.matchAll(/'([A-Z]\w+)'/g),
    ]),
  );
  // Each failure code that occurs adds one metric.
  const counted = [...new Set(names.map(([, name = '']) => name))].filter((name) => name !== 'ImagesFailedByCode');
  const ofRegistry = counted.filter((name) => name.startsWith('Registry'));
  const text = await readFile(join(ROOT, 'docs/cost.md'), 'utf8');
  expect(text).toContain(`| ${counted.length - ofRegistry.length} metrics, `);
  expect(text).toContain(`| ${ofRegistry.length} metrics of requests, `);
});

test('docs/cost.md counts the alarms, and their billed metrics', async () => {
  await using template = await packaged();
  const alarms = template
    .ofType('AWS::CloudWatch::Alarm')
    .map(([, alarm]) => alarm['Metrics'] as unknown[] | undefined);
  // An expression is not billed, but its metrics are.
  const metrics = alarms.reduce((sum, terms) => sum + (terms === undefined ? 1 : terms.length - 1), 0);
  const composed = alarms.filter((terms) => terms !== undefined).length;
  expect(composed).toBe(3);
  expect(await readFile(join(ROOT, 'docs/cost.md'), 'utf8')).toContain(
    `| ${metrics} metrics of alarms (${alarms.length} alarms, three of them on several metrics) | ${(metrics / 10).toFixed(2)} |`,
  );
});
