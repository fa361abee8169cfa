/** Every kind of image through the real program, twice: all are mirrored, and the second run asks once for each. */
import { expect, test } from 'vitest';
import { mirrorSync, summaryOf } from '../kit/command-line.ts';
import { KINDS } from '../kit/kinds.ts';
import { startRegistry } from '../kit/registry.ts';
import { makeSchema1 } from '../kit/schema1.ts';
import { tempFolder } from '../kit/temp.ts';

test('mirrors every kind of image, and the second run finds all of them unchanged with one HEAD each', async () => {
  await using registry = await startRegistry();
  await using folder = await tempFolder();
  const references = new Map(
    KINDS.map(({ name, image }, index) => {
      registry.push('team/kinds', image, `t${index}`);
      return [`${registry.host}/team/kinds:t${index}`, name];
    }),
  );
  registry.push('team/kinds', makeSchema1(), 'schema1');
  references.set(`${registry.host}/team/kinds:schema1`, 'a Docker schema 1 image');
  const archive = folder.join('archive');
  const sync = async (): Promise<ReturnType<typeof summaryOf>> =>
    summaryOf(await mirrorSync(['sync', ...references.keys(), '--to', archive, '--json']));

  const first = await sync();
  expect(
    first.images
      .filter(({ status }) => status !== 'mirrored')
      .map(({ reference, reason }) => `${references.get(reference) ?? ''}: ${reason ?? ''}`),
  ).toEqual([]);
  expect(first.mirrored).toBe(references.size);

  registry.forgetRequests();
  const later = await sync();
  expect(later).toMatchObject({ mirrored: 0, unchanged: references.size, failed: 0, referrers: 0 });
  expect(registry.requests.map(({ method, kind }) => `${method} ${kind}`)).toEqual(
    Array.from(references, () => 'HEAD manifest'),
  );

  expect(await mirrorSync(['verify', archive])).toMatchObject({ code: 0 });
});
