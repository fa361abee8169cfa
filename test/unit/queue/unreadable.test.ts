import { expect, test } from 'vitest';
import { finalizeMessage, layerMessage, resolveMessage } from '../../../lib/queue/outgoing.ts';
import { namesInUnreadable } from '../../../lib/queue/unreadable.ts';
import { digestFor, IMAGE, LAYER, ORDER } from './samples.ts';

const { run, source, repository } = ORDER;

/** The message as a later release might send it: another version, with unknown fields around the known ones. */
function later(message: object): string {
  return JSON.stringify({ ...message, version: 7, type: 'something else', platforms: { native: true }, more: [1] });
}

test.each([
  [
    'a resolve message',
    resolveMessage(ORDER, { kind: 'images', images: [{ tag: 'a' }, { digest: digestFor('b') }] }).message,
    [{ asked: { tag: 'a' } }, { asked: { digest: digestFor('b') }, digest: digestFor('b') }],
  ],
  ['a list', resolveMessage(ORDER, { kind: 'list' }).message, [{ asked: {} }]],
  [
    'a layer message',
    layerMessage(ORDER, IMAGE, { digest: digestFor('x'), mediaType: LAYER }, { lanes: 1, look: 'receipt' }).message,
    [{ asked: { tag: IMAGE.tag }, digest: IMAGE.digest }],
  ],
  [
    'a finalize message for a tag with a digest',
    finalizeMessage(ORDER, { ...IMAGE, asked: { tag: '3.20', digest: IMAGE.digest } }, 'resolver').message,
    [{ asked: { tag: '3.20', digest: IMAGE.digest }, digest: IMAGE.digest }],
  ],
])('%s of a later release names its images', (_, message, images) => {
  expect(namesInUnreadable(later(message))).toEqual({ run, source, repository, images });
});

test.each([
  ['not JSON', '{'],
  ['no run', '{"source":"a.io/b","repository":"a.io/b"}'],
  ['a run that is a path', '{"run":"../x","source":"a.io/b","repository":"a.io/b"}'],
  ['a repository that is a path', '{"run":"r","source":"a.io/b","repository":"a.io/../b"}'],
  ['a list', '[]'],
])('a message with %s names no image', (_, text) => {
  expect(namesInUnreadable(text)).toBeUndefined();
});
