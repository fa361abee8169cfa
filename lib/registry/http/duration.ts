/** `90 s`, `15 min`, `6 h`, `365 days`: in the largest unit that gives at least 2. */
export function inWords(ms: number): string {
  const units = [
    [24 * 3_600_000, 'days'],
    [3_600_000, 'h'],
    [60_000, 'min'],
  ] as const;
  const [size, unit] = units.find(([each]) => ms >= 2 * each) ?? [1000, 's'];
  return `${Math.ceil(ms / size)} ${unit}`;
}
