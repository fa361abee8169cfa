/** Numbers for people. */

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const;

/** Bytes in decimal units, as registries and Docker show them: `12.3 MB`. */
export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.5 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit] ?? ''}`;
}

export function seconds(ms: number): string {
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const whole = Math.round(ms / 1000);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

const SPANS = [
  [86_400_000, 'day'],
  [3_600_000, 'hour'],
  [60_000, 'minute'],
  [1_000, 'second'],
] as const;

/** A span of time in its largest unit: `12 days`. */
export function span(ms: number): string {
  const [unit, name] = SPANS.find(([length]) => ms >= length) ?? [1_000, 'second'];
  return plural(Math.max(0, Math.floor(ms / unit)), name);
}

/** The first twelve hex characters of a digest, as Docker shows it. */
export function shortDigest(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1, digest.indexOf(':') + 13);
}

/** A bar of `width` characters; `undefined` where the whole is not known. */
export function bar(done: number, whole: number | undefined, width: number): string {
  if (whole === undefined) return ''.padEnd(width + 2);
  const filled = Math.min(width, Math.floor((whole === 0 ? 1 : done / whole) * width));
  const head = filled < width ? '>' : '';
  return `[${'='.repeat(filled)}${head}${' '.repeat(Math.max(0, width - filled - head.length))}]`;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
