/**
 * Every kind of hostile registry against the real program: its output, duration and memory, and the data that it
 * reveals.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { startRecorder } from '../fuzz/wild-registry.ts';
import { mirrorSync, summaryOf } from '../kit/command-line.ts';
import { HOSTILE, startHostile } from '../kit/hostile.ts';
import { makeImage, makeLayer } from '../kit/images.ts';
import { startRegistry } from '../kit/registry.ts';
import { tempFolder } from '../kit/temp.ts';

const PEAK_BYTES = 300 * 1024 * 1024;
const PASSWORD = 'hunter2secret';
const PRELOADED = join(import.meta.dirname, '../kit/peak-memory.js');

describe('a run with a hostile registry and a valid one', () => {
  test.for(HOSTILE)('survives $name', { timeout: 180_000 }, async (hostile) => {
    await using good = await startRegistry();
    await using folder = await tempFolder();
    await using other = await startRecorder();
    await using bad = await startHostile(hostile, other.host);
    good.push('team/app', makeImage({ layers: [makeLayer()] }), 'v1');
    const auth = Buffer.from(`bob:${PASSWORD}`).toString('base64');
    await writeFile(folder.join('auth.json'), JSON.stringify({ auths: { [bad.host]: { auth } } }));
    await writeFile(
      folder.join('mirror.yaml'),
      [
        'version: 1',
        'mirrors:',
        `  - { source: '${good.host}/team/app', tags: [v1] }`,
        `  - { source: '${bad.host}/a/b', tags: ${hostile.tags ?? '[v1]'} }`,
        '',
      ].join('\n'),
    );
    const peak = folder.join('peak');
    const ended = await mirrorSync(
      [
        ...[
          'sync',
          '--config',
          folder.join('mirror.yaml'),
          '--to',
          folder.join('archive'),
          '--json',
          '--max-wait',
          '1s',
        ],
        ...['--authfile', folder.join('auth.json'), '--max-wait', '1s'],
      ],
      { NODE_OPTIONS: `--import=${PRELOADED}`, MIRROR_SYNC_PEAK_FILE: peak },
    );
    const { images } = summaryOf(ended);
    expect(images.find(({ reference }) => reference === `${good.host}/team/app:v1`)).toMatchObject({
      status: 'mirrored',
    });
    const attacked = images.filter(({ reference }) => reference.startsWith(bad.host));
    if (hostile.expected === 'mirrored') expect(attacked.map(({ status }) => status)).toEqual(['mirrored']);
    else {
      expect(ended.code).toBe(1);
      expect(attacked.length).toBeGreaterThan(0);
      for (const { status, reason } of attacked.slice(0, 10)) {
        expect(status).toBe('failed');
        expect(reason).toMatch(hostile.reason ?? /\w/);
      }
    }
    const printed = ended.stdout + ended.stderr;
    expect(printed).not.toMatch(/(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    const stolen = other.taken();
    for (const secret of [PASSWORD, auth]) {
      expect(printed).not.toContain(secret);
      expect(stolen).not.toContain(secret);
    }
    expect(Number(await readFile(peak, 'utf8'))).toBeLessThan(PEAK_BYTES);
  });
});
