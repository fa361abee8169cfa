import { rename, rm, utimes, writeFile } from 'node:fs/promises';
import { hashSync } from 'bcryptjs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BcryptThread } from '../../../lib/serve/bcrypt.ts';
import { parseHtpasswd } from '../../../lib/serve/htpasswd.ts';
import { HtpasswdLogins } from '../../../lib/serve/htpasswd-logins.ts';
import { RegistryError } from '../../../lib/serve/errors.ts';
import { tempFolder, type TempFolder } from '../../kit/temp.ts';

const hash = (password: string, form = '$2y'): string => hashSync(password, 4).replace(/^\$2b/, form);
const HASH = hash('secret');
const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`;
const parse = (text: string | Uint8Array): unknown => [...parseHtpasswd(Buffer.from(text), 'users')];

describe('a file of htpasswd', () => {
  test('has users with bcrypt hashes of every form, comments and empty lines', () => {
    const [b, a] = [hash('x', '$2b'), hash('x', '$2a')];
    expect(parse(`# staff\r\nann:${HASH}\r\n\n  zoë:${b}  \nci/build:${a}`)).toEqual([
      ['ann', HASH],
      ['zoë', b],
      ['ci/build', a],
    ]);
  });

  test.each([
    ['ann:$apr1$a$b', 'line 1: the password of "ann" is an MD5 hash (expected bcrypt); create it with htpasswd -B'],
    ['\nann:{SHA}abc=', 'line 2: the password of "ann" is a SHA-1 hash (expected bcrypt)'],
    ['ann:$6$a$b', 'a SHA-512 hash of crypt'],
    ['ann:$5$a$b', 'a SHA-256 hash of crypt'],
    ['ann:secret', 'the password of "ann" is not a known hash'],
    [`ann:${HASH}x`, 'an incomplete bcrypt hash'],
    [`ann:${HASH.replace('$2y', '$2x')}`, 'an incomplete bcrypt hash'],
    [`ann:${HASH.replace('$04', '$31')}`, 'the cost of the hash of "ann" is 31 (expected 4 to 14)'],
    ['ann', 'line 1: expected USER:HASH'],
    [`:${HASH}`, 'expected USER:HASH'],
    [`a\u0007n:${HASH}`, 'has a control character'],
    [`ann:${HASH}\nbob:${HASH}\nann:${HASH}`, 'line 3: the user "ann" is also in line 1; remove one of the lines'],
    ['', 'the file has no user; add one with htpasswd -B users USER'],
    ['# staff\n', 'the file has no user'],
  ])('is refused: %j', (text, message) => {
    expect(() => parse(text)).toThrow(message);
    expect(() => parse(text)).toThrow(/^read logins users: /);
  });

  test('is refused in another encoding', () => {
    expect(() => parse(Buffer.from(`zo\u00eb:${HASH}`, 'latin1'))).toThrow('the file is not in UTF-8');
  });

  test('never has its hashes in an error', () => {
    for (const text of [`ann:${HASH}x`, `ann:${HASH.replace('$04', '$31')}`, `ann:${HASH}\nann:${HASH}`])
      expect(() => parse(text)).toThrow(expect.not.stringContaining(HASH.slice(8)) as string);
  });
});

describe('the thread of bcrypt', () => {
  test('compares passwords, and is started again after it has ended', async () => {
    const thread = new BcryptThread();
    expect(await Promise.all([thread.compare('secret', HASH), thread.compare('other', HASH)])).toEqual([true, false]);
    const failed = [thread.compare('secret', 1 as unknown as string), thread.compare('secret', HASH)];
    for (const each of await Promise.allSettled(failed))
      expect(each).toMatchObject({ reason: { message: expect.stringContaining('the thread ended') as string } });
    expect(await thread.compare('secret', HASH)).toBe(true);
  });
});

let folder: TempFolder;
let file: string;
let clock: number;
let faults: string[];
beforeEach(async () => {
  folder = await tempFolder();
  file = folder.join('users');
  [clock, faults] = [1_000_000, []];
  await writeFile(file, `ann:${HASH}\nbob:${hash('pass:wörd')}\n`);
});
afterEach(() => folder.remove());

interface Comparison {
  readonly password: string;
  readonly hash: string;
  readonly end: (matches: boolean) => void;
}

/** Logins whose comparisons the test ends. */
async function held(): Promise<{ logins: HtpasswdLogins; comparisons: Comparison[] }> {
  const comparisons: Comparison[] = [];
  const logins = await HtpasswdLogins.open({
    file,
    now: () => clock,
    onFault: (text) => faults.push(text),
    compare: (password, of) =>
      new Promise((end) => {
        comparisons.push({ password, hash: of, end });
      }),
  });
  return { logins, comparisons };
}

/** Logins that count the comparisons. A hash matches the password `secret`. */
async function counted(): Promise<{ logins: HtpasswdLogins; hashes: string[] }> {
  const hashes: string[] = [];
  const logins = await HtpasswdLogins.open({
    file,
    now: () => clock,
    onFault: (text) => faults.push(text),
    compare: (password, of) => {
      hashes.push(of);
      return Promise.resolve(password === 'secret');
    },
  });
  return { logins, hashes };
}

/** Writes the file as an editor does, and lets the time pass after which it is read again. */
async function replace(text: string): Promise<void> {
  await writeFile(`${file}.new`, text);
  await rename(`${file}.new`, file);
  clock += 1_000;
}

describe('the logins of a file', () => {
  test('accept the password of a user, and no other', async () => {
    const logins = await HtpasswdLogins.open({ file, onFault: (text) => faults.push(text) });
    expect(await logins.userOf(basic('ann:secret'))).toBe('ann');
    expect(await logins.userOf(basic('bob:pass:wörd'))).toBe('bob');
    for (const wrong of ['ann:wrong', 'ann:', 'bob:secret', 'bob:pass', 'eve:secret', ':secret', 'Ann:secret'])
      expect([wrong, await logins.userOf(basic(wrong))]).toEqual([wrong, undefined]);
    expect(await logins.userOf(undefined)).toBeUndefined();
  });

  test('compare an accepted password once in five minutes', async () => {
    const { logins, hashes } = await counted();
    for (let request = 0; request < 3; request += 1) expect(await logins.userOf(basic('ann:secret'))).toBe('ann');
    expect(hashes).toHaveLength(1);
    clock += 5 * 60_000;
    expect(await logins.userOf(basic('ann:secret'))).toBe('ann');
    expect(hashes).toHaveLength(2);
  });

  test('compare a wrong password each time', async () => {
    const { logins, hashes } = await counted();
    for (let request = 0; request < 2; request += 1) expect(await logins.userOf(basic('ann:x'))).toBeUndefined();
    expect(hashes).toHaveLength(2);
  });

  test('compare the password of an unknown user with a hash of the same cost, which never matches', async () => {
    const { logins, hashes } = await counted();
    expect(await logins.userOf(basic('eve:secret'))).toBeUndefined();
    expect(hashes).toEqual([expect.stringMatching(/^\$2b\$04\$[./A-Za-z0-9]{53}$/)]);
  });

  test('share a comparison between concurrent requests of one client', async () => {
    const { logins, comparisons } = await held();
    const users = [logins.userOf(basic('ann:secret')), logins.userOf(basic('ann:secret'))];
    await expect.poll(() => comparisons.length).toBe(1);
    comparisons[0]!.end(true);
    expect(await Promise.all(users)).toEqual(['ann', 'ann']);
    expect(comparisons).toHaveLength(1);
  });

  test('answer 429 to more than 50 waiting comparisons, and still accept known passwords', async () => {
    const { logins, comparisons } = await held();
    const first = logins.userOf(basic('ann:secret'));
    await expect.poll(() => comparisons.length).toBe(1);
    comparisons[0]!.end(true);
    await first;
    const waiting = Array.from({ length: 50 }, (_, at) => logins.userOf(basic(`ann:${at}`)));
    await expect.poll(() => comparisons.length).toBe(51);
    const refused = await logins.userOf(basic('ann:other')).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(RegistryError);
    expect(refused).toMatchObject({ status: 429, code: 'TOOMANYREQUESTS', headers: { 'retry-after': '5' } });
    expect(await logins.userOf(basic('ann:secret'))).toBe('ann');
    for (const { end } of comparisons) end(false);
    expect(new Set(await Promise.all(waiting))).toEqual(new Set([undefined]));
  });

  test('refuse a removed user, and the old password of a changed one', async () => {
    const { logins, hashes } = await counted();
    expect(await logins.userOf(basic('ann:secret'))).toBe('ann');
    await replace(`bob:${HASH}\n`);
    expect(await logins.userOf(basic('ann:secret'))).toBeUndefined();
    await replace(`ann:${hash('other')}\n`);
    expect(hashes).toHaveLength(2);
    // The accepted password belongs to another hash, so it is compared again.
    await logins.userOf(basic('ann:secret'));
    expect(hashes).toHaveLength(3);
  });

  test('notice a file of the same size with the time of the old one', async () => {
    const time = new Date('2026-01-31T12:00:00Z');
    await utimes(file, time, time);
    const { logins } = await counted();
    await writeFile(file, `eve:${HASH}\nbob:${hash('pass:wörd')}\n`);
    await utimes(file, time, time);
    clock += 1_000;
    expect(await logins.userOf(basic('ann:secret'))).toBeUndefined();
    expect(await logins.userOf(basic('eve:secret'))).toBe('eve');
  });

  test('accept no login while the file is missing or invalid, and say so once', async () => {
    const { logins } = await counted();
    expect(await logins.userOf(basic('ann:secret'))).toBe('ann');
    const refused = async (): Promise<unknown> =>
      await logins.userOf(basic('ann:secret')).catch((error: unknown) => error);
    await replace('ann:secret\n');
    for (let check = 0; check < 2; check += 1) {
      expect(await refused()).toMatchObject({ status: 503, code: 'UNAVAILABLE' });
      clock += 1_000;
    }
    expect(faults).toEqual([
      `read logins ${file}: line 1: the password of "ann" is not a known hash (expected bcrypt); create it with htpasswd -B; ` +
        'no login is accepted until it is corrected',
    ]);
    await rm(file);
    clock += 1_000;
    expect(await refused()).toMatchObject({ status: 503 });
    expect(faults.at(-1)).toContain('no such file or directory');
    await replace(`ann:${HASH}\n`);
    expect(await logins.userOf(basic('ann:secret'))).toBe('ann');
    expect(faults).toHaveLength(2);
  });

  test('need a file that can be used at the start', async () => {
    await expect(HtpasswdLogins.open({ file: folder.join('none'), onFault: () => undefined })).rejects.toThrow(
      `read logins ${folder.join('none')}: no such file or directory`,
    );
  });
});
