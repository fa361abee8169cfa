/** The changes of a moved tag as text for people. Pure. Foreign texts are escaped where they are printed. */
import { bytes, plural, span } from '../core/format.ts';
import type { Change, Changes, Overlap, SettingsChange } from './changes.ts';

/** The changes in one clause, for the line of an image: `current for 12 days; 3 layers shared, 1 added; user differs`. */
export function changesInShort(changes: Changes): string {
  const { from, to, layers, platforms, settings } = changes;
  const fields = ['user', 'entrypoint', 'command', 'environment', 'labels'] as const;
  const differing = fields.filter((field) => settings.some((change) => change[field] !== undefined));
  return [
    ...(from === undefined || to === undefined ? [] : [`current for ${span(Date.parse(to) - Date.parse(from))}`]),
    countsOf(layers, (count, at) => (at === 0 ? plural(count, 'layer') : String(count))),
    ...(platforms.added.length + platforms.removed.length === 0 ? [] : [`platforms ${listed(platforms)}`]),
    ...(differing.length === 0 ? [] : [`different ${differing.join(', ')}`]),
  ].join('; ');
}

/** One line for each difference. */
export function changeLines(changes: Changes): readonly string[] {
  const { from, to, layers, bytes: size, platforms, settings, notes = [] } = changes;
  return [
    ...(from === undefined || to === undefined
      ? []
      : [`current for ${span(Date.parse(to) - Date.parse(from))}, from ${from} to ${to}`]),
    `layers: ${countsOf(layers, String)}`,
    ...(size === undefined ? [] : [`bytes of layers: ${countsOf(size, bytes)}`]),
    ...(platforms.added.length + platforms.removed.length === 0 ? [] : [`platforms: ${listed(platforms)}`]),
    ...settings.flatMap(settingLines),
    ...notes,
  ];
}

function countsOf({ shared, added, removed }: Overlap, show: (count: number, at: number) => string): string {
  return `${show(shared, 0)} shared, ${show(added, 1)} added, ${show(removed, 2)} removed`;
}

/** `A, B added; C removed` */
function listed(lists: Readonly<Record<string, readonly string[]>>): string {
  const given = Object.entries(lists).filter(([, names]) => names.length > 0);
  return given.map(([change, names]) => `${names.join(', ')} ${change}`).join('; ');
}

function settingLines({
  platforms,
  user,
  entrypoint,
  command,
  environment,
  labels = [],
  omitted = 0,
}: SettingsChange): readonly string[] {
  const prefix = platforms.length === 0 ? '' : `${platforms.join(', ')}: `;
  const lines = [
    ...(user === undefined ? [] : [`user: ${arrow(user)}`]),
    ...(entrypoint === undefined ? [] : [`entrypoint: ${arrow(entrypoint)}`]),
    ...(command === undefined ? [] : [`command: ${arrow(command)}`]),
    ...(environment === undefined ? [] : [`environment: ${listed({ ...environment })}`]),
    ...labels.map((label) => `label ${label.name}: ${arrow(label)}`),
    ...(omitted === 0 ? [] : [`and ${plural(omitted, 'more change')}`]),
  ];
  return lines.map((line) => prefix + line);
}

/** `root → app`; lists as in a Dockerfile. */
function arrow({ from, to }: Change<string | readonly string[]>): string {
  const show = (value: string | readonly string[] | null): string => (value === null ? 'none' : JSON.stringify(value));
  return `${show(from)} → ${show(to)}`;
}
