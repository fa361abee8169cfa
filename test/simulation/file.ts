/** Schedules as JSON: to replay one, and to keep one that has found a mistake. */
import type { Schedule } from './schedule.ts';

export interface Kept {
  /** The mistake that it has found. */
  readonly about: string;
  readonly schedule: Schedule;
}

export function toJson({ about, schedule }: Kept): string {
  const { faults, ...rest } = schedule;
  return `${JSON.stringify({ about, schedule: { ...rest, faults: [...(faults ?? [])] } }, undefined, 2)}\n`;
}

export function fromJson(text: string): Kept {
  const { about, schedule } = JSON.parse(text) as Kept & { schedule: { readonly faults: readonly string[] } };
  return { about, schedule: { ...schedule, faults: new Set(schedule.faults) } };
}
