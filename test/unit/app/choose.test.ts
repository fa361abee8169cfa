import { expect, test } from 'vitest';
import { parseConfig } from '../../../lib/config/config.ts';
import { choiceOf, tagChoice } from '../../../lib/app/choose.ts';

const CONFIG = parseConfig(
  `
version: 1
mirrors:
  - { source: alpine, tags: { include: ['3.*'] }, destination: mirror.example.com/alpine }
  - { source: alpine, tags: { include: ['2.*'] }, destination: mirror.example.com/old }`,
  'mirror.yaml',
);
const SOURCE = 'docker.io/library/alpine';
const PAGES = [
  ['3.1', '2.7', 'edge'],
  ['3.10', '3.9'],
];

test.each([
  ['mirror.example.com/alpine', [['3.1'], ['3.10', '3.9']]],
  ['mirror.example.com/old', [['2.7'], []]],
  ['mirror.example.com/unknown', PAGES],
])('chooses the tags of the mirror to %s, page by page', (repository, chosen) => {
  const choice = tagChoice(CONFIG, { source: SOURCE, repository });
  expect(PAGES.map((page) => choice.page(page))).toEqual(chosen);
  expect(choice.end()).toEqual([]);
});

test('chooses the newest versions after the last page', () => {
  const choice = choiceOf({ kind: 'filtered', include: ['3.*'], exclude: [], newest: 2 });
  expect(PAGES.map((page) => choice.page(page))).toEqual([[], []]);
  expect(choice.end()).toEqual(['3.10', '3.9']);
});

test('chooses listed tags as they arrive', () => {
  const choice = choiceOf({ kind: 'listed', tags: ['3.9', 'edge'] });
  expect(PAGES.map((page) => choice.page(page))).toEqual([['edge'], ['3.9']]);
  expect(choice.end()).toEqual([]);
});
