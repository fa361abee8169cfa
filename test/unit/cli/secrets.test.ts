/** No message repeats a secret that the user wrote in the wrong place. */
import { mkdir, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runMain } from '../../kit/in-process.ts';
import { tempFolder, type TempFolder } from '../../kit/temp.ts';

const PEM = '-----BEGIN PRIVATE KEY-----\nMIGHsecret\n-----END PRIVATE KEY-----\n';

let folder: TempFolder;

beforeAll(async () => {
  folder = await tempFolder();
});

afterAll(() => folder.remove());

async function printedBy(args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runMain(args);
  expect(code).not.toBe(0);
  return stdout + stderr;
}

const TO = ['--to', '/nowhere'];

test.for([
  ['a reference', ['sync', 'me:secret@host/app', ...TO]],
  ['a reference with an @ in the password', ['sync', 'me:se@cret@host/app', ...TO]],
  ['a reference with a scheme', ['sync', 'https://me:secret@host/app', ...TO]],
  ['a reference that looks like a configuration', ['sync', 'https://me:secret@host/mirror.yaml', ...TO]],
  ['the configuration', ['check', 'https://me:secret@host/mirror.yaml']],
  ['the credentials', ['sync', 'alpine', ...TO, '--authfile', 'https://me:secret@host/auth.json']],
  ['a registry', ['sync', 'alpine', ...TO, '--insecure-registry', 'me:secret@host']],
  ['a host of foreign layers', ['sync', 'alpine', ...TO, '--foreign-host', 'https://me:secret@host']],
  ['the trusted root', ['sync', 'alpine', ...TO, '--trusted-root', 'https://me:secret@host/root.json']],
  ['an archive', ['ls', 'https://me:secret@host/archive']],
  ['an archive of another tool', ['ls', 's3a://KEY:se/cret@bucket/prefix']],
  ['an archive in S3', ['ls', 's3://KEY:se/cret@bucket/prefix']],
  ['a second run', ['status', '/nowhere', 'run', 'me:secret@host']],
  ['a second configuration', ['check', 'mirror.yaml', 'me:secret@host']],
  ['the address of a server', ['client-config', 'podman', '--registry', 'http://me:secret@host']],
  ['the address to listen at', ['serve', '/nowhere', '--listen', 'me:secret@host']],
  ['a key', ['verify', '/nowhere', '--attest-public-key', PEM]],
  ['a key of TLS', ['serve', '/nowhere', '--tls-cert', PEM, '--tls-key', PEM]],
] as const)('%s is named without its secret', async ([, args]) => {
  const printed = await printedBy(args);
  expect(printed).not.toMatch(/se.?cret|KEY:|se\//);
  expect(printed).toMatch(/\[redacted\]|user and a password/);
});

test('a run that is unknown is named without a secret', async () => {
  await using archive = await tempFolder();
  await mkdir(archive.join('blobs'));
  expect(await printedBy(['status', archive.path, 'me:secret@host'])).toContain('unknown run [redacted]@host');
});

describe('a file with a secret as the configuration', () => {
  test.for([
    ['a private key', PEM],
    ['a token', 'secret\n'],
    ['credentials of AWS', '[default]\naws_secret_access_key = secret\n'],
    ['a netrc', 'machine host login me password secret\n'],
    ['broken text', 'key: value\n- other: secret\n}secret\n'],
    ['a text with the start of a block', '|secret text\n'],
    ['a list with two ends', 'key: [value]] secret\n'],
  ] as const)('%s is refused without its content', async ([, content]) => {
    const file = folder.join('other');
    await writeFile(file, content);
    expect(await printedBy(['check', file])).not.toContain('= secret');
    expect((await printedBy(['check', file])).replaceAll(file, '')).not.toContain('secret');
  });
});

test('an endpoint with a password is refused without it', async () => {
  const file = folder.join('mirror.yaml');
  const mirrors = 'mirrors: [{ source: "https://me:secret@host/app", tags: all }]';
  const registries = 'registries: { host.test: { endpoints: ["http://me:secret@host"] }, "me:secret@x.test": {} }';
  await writeFile(file, `version: 1\n${registries}\n${mirrors}\n`);
  const printed = await printedBy(['check', file]);
  expect(printed).not.toContain('secret');
  expect(printed).toContain('http://[redacted]@host');
});

test('a private key as the key of a signer is refused without any part of it', async () => {
  const file = folder.join('signer.yaml');
  const key = 'MIGHsecret';
  await writeFile(
    file,
    `version: 1\nmirrors: [{ source: a.test/b, tags: all, policy: { verify: warn, signers: [{ key: ${key} }] } }]\n`,
  );
  const printed = await printedBy(['check', file]);
  expect(printed).not.toContain('secret');
  expect(printed).toContain('key: this text: it is not a public key in PEM');
});

test('a file that is not JSON as the trusted root is refused without its content', async () => {
  const file = folder.join('root.json');
  await writeFile(file, 'my-secret');
  const printed = await printedBy(['sync', 'alpine', '--to', folder.join('a'), '--trusted-root', file]);
  expect(printed).toContain('it is not JSON');
  expect(printed).not.toContain('my-secret');
});
