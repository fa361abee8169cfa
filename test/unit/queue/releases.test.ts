/**
 * Messages in the serialised form of each release: `test/messages/<version>-<release>/<kind>.json`. A release that changes its
 * messages adds a folder, which has the name of the change before the release. Existing files there never change, because a rolling update or a rollback delivers messages of one
 * release to the functions of another.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Message } from '../../../lib/queue/messages.ts';
import {
  changeMessage,
  checksMessage,
  continuationOf,
  finalizeMessage,
  layerMessage,
  resolveMessage,
} from '../../../lib/queue/outgoing.ts';
import { NO_POLICY, type Policy } from '../../../lib/policy/policy.ts';
import { parseMessage, serialise } from '../../../lib/queue/parse.ts';
import { digestFor, LAYER } from './samples.ts';

const FOLDER = join(import.meta.dirname, '../../messages');

const files = (await readdir(FOLDER, { recursive: true })).filter((name) => name.endsWith('.json')).toSorted();

const ORDER = {
  run: '2026-11-25T12-00-00-000Z-prod',
  source: 'registry.example/team/app',
  repository: 'registry.example/team/app',
  platforms: 'all' as const,
};
const SOME = {
  ...ORDER,
  platforms: [
    { os: 'linux', architecture: 'amd64' },
    { os: 'linux', architecture: 'arm', variant: 'v7' },
  ],
  foreignLayers: 'skip' as const,
};
const IMAGE = {
  digest: digestFor('manifest'),
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  size: 401,
  tag: 'v1',
  observed: 1_764_072_000_000,
  largest: digestFor('layer'),
};
const ASKED = {
  ...IMAGE,
  asked: { tag: 'v1', digest: IMAGE.digest },
  note: 'the tag names another digest',
};
const BLOB = { digest: digestFor('layer'), mediaType: LAYER, size: 402 };
const URLS = { ...BLOB, urls: ['https://registry.example/layer'] };

const POLICY: Policy = {
  ...NO_POLICY,
  referrers: ['application/spdx+json'],
  verify: 'require',
  signers: [{ identity: 'https://ci.example/*', issuer: 'https://issuer.example' }, { key: 'PEM' }],
  minimumAgeMs: 604_800_000,
  initial: 'accept',
  moved: 'keep',
  attest: 'on',
};
const { tag: _, ...UNTAGGED } = IMAGE;
const REFERRER = { ...UNTAGGED, subject: digestFor('subject'), root: { tag: 'v1' } };
const VERIFIED = { ...IMAGE, verified: { by: 'https://ci.example/1', at: 1_764_071_000_000 }, notes: ['a remark'] };
const AT = 1_764_072_000_001;

/** The messages that came with policies and referrers, and with the chains of pushes, created by the current release. */
const LATER: Readonly<Record<string, Message>> = {
  '1-chains/resolve-next': {
    ...resolveMessage(ORDER, { kind: 'images', images: [{ tag: 'v1' }] }).message,
    next: '0123456789abcdef'.repeat(4),
  },
  '2-policies/finalize-policy': changeMessage(ORDER, { policy: POLICY }).message,
  '2-policies/finalize-completed': changeMessage(ORDER, { completed: AT }).message,
  '1-policies/finalize-verified': finalizeMessage(ORDER, { ...VERIFIED, checked: AT }, 'resolver').message,
  '1-policies/finalize-unverified': finalizeMessage(
    ORDER,
    { ...IMAGE, unverified: 'no signature', signers: '1f2e3d4c5b6a7988' },
    'resolver',
  ).message,
  '1-policies/finalize-drifted': finalizeMessage(ORDER, IMAGE, 'resolver', {
    code: 'drifted',
    reason: 'moved',
    current: digestFor('current'),
  }).message,
  '1-policies/finalize-checks': checksMessage(ORDER, IMAGE, {
    checks: [
      { tag: 'v1', digest: IMAGE.digest, at: AT },
      { digest: digestFor('other'), at: AT },
    ],
  }).message,
  '1-policies/finalize-attest': checksMessage(ORDER, IMAGE, {
    attest: [{ tag: 'v1', digest: IMAGE.digest }, { digest: digestFor('other') }],
  }).message,
  '1-policies/finalize-checks-awaiting': checksMessage(ORDER, IMAGE, {
    checks: [{ tag: 'v1', digest: IMAGE.digest, at: AT, awaited: [digestFor('referrer')] }],
  }).message,
  '1-policies/finalize-awaiting': finalizeMessage(
    ORDER,
    { ...IMAGE, checked: AT, awaited: [digestFor('referrer')] },
    'resolver',
  ).message,
  '1-policies/resolve-checks': resolveMessage(ORDER, { kind: 'checks' }).message,
  '1-policies/resolve-announced': resolveMessage(ORDER, {
    kind: 'checks',
    announced: [{ tag: 'sha256-1.sig' }, { digest: digestFor('referrer') }],
  }).message,
  '1-policies/resolve-listed': resolveMessage(ORDER, { kind: 'images', images: [{ tag: 'v1' }], listed: true }).message,
  '1-policies/layer-of-a-referrer': layerMessage(ORDER, REFERRER, BLOB, { lanes: 4, look: 'receipt' }).message,
};

/** The same messages, created by the current release. */
const OURS: Readonly<Record<string, Message>> = {
  'resolve-list': resolveMessage(SOME, { kind: 'list' }).message,
  'resolve-images': resolveMessage(ORDER, {
    kind: 'images',
    images: [{ tag: 'v1' }, { digest: IMAGE.digest }],
  }).message,
  layer: layerMessage(ORDER, IMAGE, BLOB, { lanes: 4, look: 'receipt' }).message,
  'layer-continued': continuationOf(layerMessage(SOME, ASKED, URLS, { lanes: 4, look: 'receipt' }).message, 4).message,
  finalize: finalizeMessage(ORDER, IMAGE, BLOB.digest).message,
  'finalize-failed': finalizeMessage(ORDER, { tag: 'v2' }, 'resolver', { code: 'denied', reason: 'get manifest: no' })
    .message,
};

test('the first release has a stored message of each type', () => {
  const ofFirst = files.filter((name) => name.startsWith('1-a7e154c')).map((name) => name.slice(10, -5));
  expect(ofFirst.toSorted()).toEqual(Object.keys(OURS).toSorted());
});

/** The fields of a stored message that the current release uses. Nothing depends on `sole` any more. */
async function stored(name: string): Promise<unknown> {
  return JSON.parse(await readFile(join(FOLDER, name), 'utf8'), (key, value: unknown) =>
    key === 'sole' ? undefined : value,
  );
}

test.each(files)('the stored message %s is read completely', async (name) => {
  expect(parseMessage(await readFile(join(FOLDER, name), 'utf8'))).toEqual(await stored(name));
});

test('a layer message whose receipt need not be looked up is read as one whose receipt is', async () => {
  const text = await readFile(join(FOLDER, '1-a7e154c/layer.json'), 'utf8');
  expect(parseMessage(text.replace('"look":"receipt"', '"look":"nothing"'))).toEqual(JSON.parse(text));
});

// The first release refuses every unknown field.
test.each(Object.entries(OURS))(
  'the message %s is sent in the form that the first release sends and reads',
  async (name, message) => {
    expect(JSON.parse(serialise(message))).toEqual(await stored(`1-a7e154c/${name}.json`));
  },
);

test.each(Object.entries(LATER))('the message %s is sent in the form that is stored', async (name, message) => {
  expect(JSON.parse(serialise(message))).toEqual(await stored(`${name}.json`));
});

// A finalizer of the previous release knows no policy, and would count the message as a failure of its repository.
test('a change of a repository has a version of its own, so that a finalizer without policies leaves it in the queue', () => {
  const { message } = changeMessage(ORDER, { policy: NO_POLICY });
  expect(message.version).toBe(2);
  const failureOf = (text: string): unknown => {
    try {
      return parseMessage(text);
    } catch (error) {
      return error;
    }
  };
  expect(failureOf(JSON.stringify({ ...message, version: 1 }))).toMatchObject({ code: 'invalid' });
  // A release that knows policies leaves those of its successor in the same way, and other messages of this version.
  expect(failureOf(JSON.stringify({ ...message, version: 3 }))).toMatchObject({ code: 'unsupported' });
  expect(failureOf(JSON.stringify({ ...message, type: 'resolve' }))).toMatchObject({ code: 'unsupported' });
});
