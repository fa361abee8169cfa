/** Makes a failing schedule shorter: fewer faults, and fewer actions. */
import { type Ended, runSchedule, type Schedule } from './schedule.ts';

/** Runs of a schedule that a reduction may take. */
const MAX_RUNS = 300;

/** The kind of a violation: its words without digests, numbers and names of tags. */
export function kindOf(violation: string): string {
  return violation.replaceAll(/sha256:[0-9a-f]+|[0-9a-f]{8,}|\d+|r\d\.example\S*/g, '…').slice(0, 80);
}

/**
 * The smallest part of a list for which `fails` resolves to true, by leaving out ever smaller pieces (Zeller's ddmin, without
 * its complements).
 */
export async function smallest<T>(
  items: readonly T[],
  fails: (part: readonly T[]) => Promise<boolean>,
): Promise<readonly T[]> {
  let left = items;
  for (let length = Math.ceil(left.length / 2); length >= 1; length = length === 1 ? 0 : Math.ceil(length / 2))
    for (let at = 0; at < left.length;) {
      const without = [...left.slice(0, at), ...left.slice(at + length)];
      if (await fails(without)) left = without;
      else at += length;
    }
  return left;
}

/** A shorter schedule with the same kind of violation, and its run. */
export async function reduced(
  schedule: Schedule,
  ended: Ended,
): Promise<{ readonly schedule: Schedule; readonly ended: Ended }> {
  const kind = kindOf(ended.violation ?? '');
  let best = { schedule: { ...schedule, faults: ended.faults }, ended };
  let runs = 0;
  const fails = async (change: Partial<Schedule>): Promise<boolean> => {
    runs += 1;
    if (runs > MAX_RUNS) return false;
    const shorter = { ...best.schedule, ...change };
    const again = await runSchedule(shorter);
    if (again.violation === undefined || kindOf(again.violation) !== kind) return false;
    // Faults that no longer happen are left out.
    best = { schedule: { ...shorter, faults: again.faults }, ended: again };
    return true;
  };
  const [first, ...others] = schedule.actions;
  const withActions = (part: Schedule['actions']): Promise<boolean> =>
    fails({ actions: first === undefined ? part : [first, ...part] });
  await smallest(others, withActions);
  await smallest([...best.ended.faults], (part) => fails({ faults: new Set(part) }));
  await smallest(best.schedule.actions.slice(1), withActions);
  return best;
}
