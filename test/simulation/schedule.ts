/** A schedule: conditions and actions from a seed, its run, and what must hold at its end. */
import { imageName } from '../../lib/sync/events.ts';
import { verifyArchive } from '../../lib/upkeep/verify.ts';
import { Archive } from '../../lib/archive/archive.ts';
import { ociLayout } from '../../lib/archive/oci-layout.ts';
import { parseMessage } from '../../lib/queue/parse.ts';
import { type Action, perform } from './actions.ts';
import { IMAGES } from './images.ts';
import { NO_FAULTS, type Rates } from './process.ts';
import { withPolicies } from './policy-schedules.ts';
import { rivals } from './rivals.ts';
import { type Conditions, System } from './system.ts';
import { decisionOn, NO_STATE } from './raw-index.ts';
import { MOODS } from './upstream.ts';
import { Violation } from './violation.ts';
import { type Line, World } from './world.ts';

export interface Schedule {
  readonly seed: number;
  readonly conditions: Conditions;
  readonly actions: readonly Action[];
  /** The text of mirror.yaml for the last runs; by default everything, without a policy. */
  readonly ending?: string;
  /** The names of the calls that may fail; all of them where it is undefined. */
  readonly faults?: ReadonlySet<string>;
}

export interface Ended {
  /** The first violation, with the invariant in words; undefined if all held. */
  readonly violation: string | undefined;
  /** The calls that failed. */
  readonly faults: ReadonlySet<string>;
  readonly trace: readonly Line[];
  readonly steps: number;
}

const REPOSITORIES = ['r1.example/app', 'r1.example/team/base', 'r2.example/app'] as const;
const TAGS = ['1', '2', 'latest'] as const;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** The time in the name of the last run, which begins when nothing is left to do. */
const LAST_RUN = 10 ** 9;
/** Rounds of a repair and a run, as deep as the indexes of an image are nested. */
const REPAIRS = 4;
/** More events than any schedule needs. */
const MAX_EVENTS = 200_000;

/** Chooses a schedule. */

export function scheduleOf(seed: number): Schedule {
  const dice = new World(seed);
  let rolls = 0;
  const chance = (): number => dice.chance(`choice ${(rolls += 1)}`);
  const below = (limit: number): number => Math.floor(chance() * limit);
  const pick = <T>(values: readonly T[]): T => values[below(values.length)] as T;
  let conditions: Conditions = {
    rates: ratesOf(pick(['none', 'slow', 'kills', 'errors', 'few', 'some', 'many'] as const), chance() < 0.5),
    lanes: pick([1, 2, 4]),
    maxReceives: pick([2, 3, 5]),
    timeouts: {
      resolver: pick([20_000, 60_000, 180_000]),
      layer: pick([10_000, 20_000, 60_000, 900_000]),
      finalizer: pick([20_000, 120_000]),
    },
    uploadsListedAfterMs: pick([0, 0, 30_000]),
    earlierMessages: pick([0, 0, 0.2]),
  };
  const span = pick([5 * MINUTE, 40 * MINUTE, 6 * HOUR]);
  let actions: Action[] = [{ at: 0, do: 'configure', text: configOf(chance) }];
  const add = (count: number, make: () => Action): void => {
    for (let index = 0; index < count; index += 1) actions.push(make());
  };
  const at = (): number => 1_000 + below(span);
  const some = (): { readonly repository: string; readonly tag: string } => ({
    repository: pick(REPOSITORIES),
    tag: pick(TAGS),
  });
  add(3 + below(3), () => ({ at: below(1_000), do: 'push', ...some(), image: below(IMAGES.length) }));
  add(1 + below(2), () => ({ at: 1_000 + below(MINUTE), do: 'run' }));
  add(below(4), () => ({ at: at(), do: 'push', ...some(), image: below(IMAGES.length) }));
  add(below(2), () => ({ at: at(), do: 'delete', ...some() }));
  add(below(3), () => ({ at: at(), do: 'run' }));
  add(below(3), () => ({ at: at(), do: 'webhook', ...some() }));
  add(below(2), () => ({ at: at(), do: 'request', reference: referenceOf(some(), chance()) }));
  add(below(3), () => ({
    at: at(),
    do: 'mood',
    host: pick(['r1.example', 'r2.example']),
    mood: pick(MOODS),
    forMs: below(span),
  }));
  add(below(2), () => ({ at: at(), do: 'configure', text: configOf(chance) }));
  // A mistake in the file, which is corrected later.
  if (chance() < 0.1) {
    const from = at();
    actions.push({ at: from, do: 'configure', text: 'version: 1\nmirrors: not a list\n' });
    actions.push({ at: from + below(10 * MINUTE), do: 'configure', text: configOf(chance) });
  }
  add(below(3), () => ({ at: at(), do: 'sync', reference: referenceOf(some(), chance()) }));
  if (chance() < 0.5) {
    // A tag that moves while several runs mirror it.
    const { repository, tag } = some();
    const from = at();
    const soon = (): number => from + below(40_000);
    const image = below(IMAGES.length);
    actions.push({ at: from, do: 'push', repository, tag, image });
    actions.push({ at: from + 1_000 + below(2_000), do: 'run' });
    add(1 + below(2), () => ({ at: soon(), do: 'push', repository, tag, image: image + 1 + below(IMAGES.length - 1) }));
    add(1 + below(2), () => ({ at: from + 1_000 + below(4_000), do: 'sync', reference: repository }));
    add(1 + below(2), () =>
      chance() < 0.5 ? { at: soon(), do: 'run' } : { at: soon(), do: 'webhook', repository, tag },
    );
    if (chance() < 0.3)
      actions.push({
        at: soon(),
        do: 'mood',
        host: repository.split('/')[0] ?? '',
        mood: 'wrong-bytes',
        forMs: below(20_000),
      });
  }
  if (chance() < 0.3) {
    // A repair, and new images meanwhile, which may have the damaged blobs.
    const damaged = at();
    add(1 + below(3), () => ({ at: damaged, do: 'damage', blob: below(20) }));
    add(1 + below(2), () => ({ at: damaged + below(20_000), do: 'verify' }));
    add(1 + below(2), () => ({ at: damaged + below(20_000), do: 'sync', reference: referenceOf(some(), chance()) }));
    add(1, () => ({ at: damaged + below(20_000), do: 'push', ...some(), image: below(IMAGES.length) }));
    add(1, () => ({ at: damaged + below(20_000), do: 'run' }));
  }
  add(below(2), () => ({ at: at(), do: 'verify' }));
  add(below(3), () => ({ at: at(), do: 'read', times: 2 + below(4) }));
  if (chance() < 0.15) {
    // Two writers of the same blobs: layers of slow registries take several invocations.
    const isWrong = chance() < 0.6;
    // There are no other faults, so no upload may be aborted, or started again.
    if (!isWrong) actions = actions.filter(({ do: what }) => what !== 'mood' && what !== 'damage');
    const from = at();
    const [tag, other] = ['1', '2'] as const;
    const image = below(IMAGES.length);
    const [one, two] = ['r1.example/app', 'r2.example/app'] as const;
    const soon = (ms: number): number => from + 1_000 + below(ms);
    const slow = (host: string): Action => ({ at: from, do: 'mood', host, mood: 'slow-bodies', forMs: 60_000 });
    actions.push({ at: from, do: 'configure', text: WHOLE }, slow('r1.example'));
    if (chance() < 0.5) actions.push(slow('r2.example'));
    for (const repository of [one, two]) actions.push({ at: from, do: 'push', repository, tag, image });
    actions.push({ at: from, do: 'push', repository: two, tag: other, image: below(IMAGES.length) });
    if (isWrong)
      actions.push({ at: soon(4_000), do: 'mood', host: 'r1.example', mood: 'wrong-bytes', forMs: 500 + below(6_000) });
    // Both registries receive the request before an upload begins. The second one sends its blobs later.
    actions.push({ at: from + 500, do: 'request', reference: `${one}:${tag}` });
    if (chance() < 0.7) {
      actions.push({ at: from + 200, do: 'request', reference: `${two}:${other}` });
      actions.push({ at: from + 501, do: 'request', reference: `${two}:${tag}` });
    }
    add(1 + below(3), () => ({
      at: soon(12_000),
      do: chance() < 0.5 ? 'sync' : 'request',
      reference: `${two}:${tag}`,
    }));
    conditions = {
      ...conditions,
      rates: isWrong ? { ...conditions.rates, sluggish: pick([0, 0.3]) } : NO_FAULTS,
      lanes: pick([1, 1, 2]),
      timeouts: { ...conditions.timeouts, layer: pick([10_000, 14_000, 20_000]) },
    };
  }
  if (chance() < 0.12) {
    // Signatures and SBOMs, at once and late, with runs over two months.
    const from = at();
    const { repository, tag } = some();
    actions.push({ at: from, do: 'push', repository, tag, image: below(IMAGES.length) });
    add(1 + below(4), () => ({
      at: from + below(pick([MINUTE, DAY, 20 * DAY])),
      do: 'attach',
      repository,
      tag,
      number: below(1_000),
    }));
    add(2 + below(4), () => ({ at: from + 1_000 + below(60 * DAY), do: 'run' }));
  }
  if (chance() < 0.15) {
    // Functions die, and a laptop mirrors the same images before their messages are delivered again.
    const from = at();
    const repository = pick(REPOSITORIES);
    actions.push({ at: from, do: 'configure', text: WHOLE });
    add(1 + below(3), () => ({ at: from, do: 'push', repository, tag: pick(TAGS), image: below(IMAGES.length) }));
    actions.push({ at: from + 1_000, do: 'run' });
    add(2 + below(4), () => ({ at: from + 20_000 + below(300_000), do: 'sync', reference: repository }));
    const rates = { ...NO_FAULTS, kill: pick([0.02, 0.04]), sluggish: pick([0, 0.3]) };
    conditions = { ...conditions, rates, maxReceives: pick([2, 5]) };
  }
  const isRivalry = chance() < 0.05;
  if (isRivalry) {
    const rivalry = rivals(at(), conditions, { below, pick });
    conditions = rivalry.conditions;
    actions = [{ at: 0, do: 'configure', text: WHOLE }, ...rivalry.actions];
  }
  const policies = isRivalry
    ? undefined
    : withPolicies(dice, actions, { repositories: REPOSITORIES, tags: TAGS, whole: WHOLE });
  return { seed, conditions, ...policies, ...inOrder(policies?.actions ?? actions) };
}

function inOrder(actions: readonly Action[]): Pick<Schedule, 'actions'> {
  return { actions: actions.toSorted((a, b) => a.at - b.at) };
}

function referenceOf(
  { repository, tag }: { readonly repository: string; readonly tag: string },
  chance: number,
): string {
  if (chance < 0.4) return `${repository}:${tag}`;
  const { digest } = IMAGES[Math.floor(chance * IMAGES.length)]!;
  return chance < 0.7 ? `${repository}@${digest}` : `${repository}:${tag}@${digest}`;
}

function ratesOf(how: 'none' | 'slow' | 'kills' | 'errors' | 'few' | 'some' | 'many', withKills: boolean): Rates {
  if (how === 'none') return NO_FAULTS;
  if (how === 'slow') return { ...NO_FAULTS, slow: 0.1 };
  if (how === 'kills') return { ...NO_FAULTS, kill: 0.03 };
  if (how === 'errors') return { ...NO_FAULTS, before: 0.02, after: 0.02, conflict: 0.1 };
  const rate = { few: 0.002, some: 0.01, many: 0.04 }[how];
  return { before: rate, after: rate, lost: rate / 4, slow: rate, conflict: rate, kill: withKills ? rate : 0 };
}

function configOf(chance: () => number): string {
  const mirrors = REPOSITORIES.filter(() => chance() < 0.8).map((source) => {
    const tags = chance() < 0.6 ? 'all' : chance() < 0.5 ? "['1', latest]" : "{ include: ['[0-9]*'] }";
    const platforms = source.startsWith('r2') && chance() < 0.5 ? '[linux/amd64]' : 'all';
    return `  - source: ${source}\n    tags: ${tags}\n    platforms: ${platforms}\n`;
  });
  const source = `  - source: ${REPOSITORIES[0]}\n    tags: all\n    platforms: all\n`;
  return `version: 1\nmirrors:\n${mirrors.length === 0 ? source : mirrors.join('')}`;
}

/** The configuration at the end: everything. */
const WHOLE = `version: 1\nmirrors:\n${REPOSITORIES.map((source) => `  - source: ${source}\n    tags: all\n    platforms: all\n`).join('')}`;

/** Runs a schedule in this process, whose clock and random numbers it replaces meanwhile. */
export async function runSchedule(schedule: Schedule): Promise<Ended> {
  const system = new System(schedule.seed, schedule.conditions, schedule.faults);
  const { world, faults } = system;
  const real = { now: Date.now, random: Math.random };
  let numbers = 0;
  Date.now = () => world.now;
  Math.random = () => world.chance(`random ${(numbers += 1)}`);
  let violation: string | undefined;
  try {
    await new Course(system, schedule).run();
  } catch (error) {
    violation = error instanceof Violation ? error.message : String((error as Error).stack);
  } finally {
    Date.now = real.now;
    Math.random = real.random;
  }
  if (violation !== undefined) world.say('audit', violation);
  return { violation, faults: new Set(faults.struck.keys()), trace: world.trace, steps: world.steps };
}

class Course {
  readonly #system: System;
  readonly #schedule: Schedule;

  constructor(system: System, schedule: Schedule) {
    this.#system = system;
    this.#schedule = schedule;
    const { rates, uploadsListedAfterMs } = schedule.conditions;
    const { lost, slow } = rates;
    const isHealthy = schedule.actions.every((action) =>
      action.do === 'mood' ? action.mood === 'slow-bodies' : action.do !== 'damage',
    );
    system.audit.mustResume = isHealthy && uploadsListedAfterMs === 0;
    system.audit.mustSpare = isHealthy && slow + lost === 0;
    system.world.afterEvent = (): void => {
      system.audit.check();
    };
  }

  async run(): Promise<void> {
    const { world } = this.#system;
    for (const action of this.#schedule.actions)
      world.after(action.at, () => {
        perform(this.#system, action);
      });
    await world.run(MAX_EVENTS);
    this.#system.calm();
    if (!this.#system.isIdle) throw new Violation('messages are left, although nothing happens any more');
    this.#outcomes();
    await this.#complete();
  }

  /** Invariant 7: each requested image has a final state. */
  #outcomes(): void {
    const { audit, requested, outcomes } = this.#system;
    const done = new Set(
      outcomes.map(({ event: { run, repository, reference } }) => `${run} ${repository} ${reference}`),
    );
    for (const [key, { status }] of audit.reports())
      if (status === 'pending') throw new Violation(`the report ${key} is pending for ever`);
    for (const body of requested) {
      const message = parseMessage(body);
      if (message.type !== 'resolve' || message.what.kind !== 'images') continue;
      for (const image of message.what.images) {
        const { run, repository, reference } = imageName(message, image);
        const report = audit.report(ociLayout.runReport(run, `${repository} ${reference}`));
        if (report?.status === 'pending') throw new Violation(`${reference} of ${run} is pending for ever`);
        const isAllowed = !run.startsWith('webhook-') || this.#isConfigured();
        if (report === undefined && !done.has(`${run} ${repository} ${reference}`) && isAllowed)
          throw new Violation(`${reference} of ${run} has no final state`);
      }
    }
  }

  /** Signatures that were pushed late are found within 30 days, and no image is checked after that. */
  async #referrers(): Promise<void> {
    const { audit, upstream } = this.#system;
    if (!this.#schedule.actions.some(({ do: what }) => what === 'attach')) return;
    // The second run checks what the first one has mirrored.
    for (const round of [1, 2]) await this.#perform({ at: LAST_RUN + 100 * round, do: 'run' }, 31 * DAY);
    const { referrerLists } = upstream;
    await this.#perform({ at: LAST_RUN + 300, do: 'run' });
    if (upstream.referrerLists !== referrerLists) throw new Violation('referrers are listed, although no check is due');
    for (const repository of REPOSITORIES)
      for (const [tag, digest] of audit.tagsOf(repository)) {
        // A tag that the policy keeps may differ from upstream.
        if (upstream.digestOf(repository, tag) !== digest) continue;
        if (audit.stateOf(repository)?.policy.referrers === 'none') continue;
        const found = audit.referrersOf(repository, digest);
        for (const referrer of upstream.referrersOf(repository, digest))
          if (!found.has(referrer.digest))
            throw new Violation(`${repository}@${digest} lacks its referrer ${referrer.digest} at the end`);
      }
  }

  /** A webhook's image is refused where the configuration has changed meanwhile. */
  #isConfigured(): boolean {
    return this.#schedule.actions.filter(({ do: what }) => what === 'configure').length === 1;
  }

  get #isDamaged(): boolean {
    return this.#schedule.actions.some(({ do: what }) => what === 'damage');
  }

  /** One run without faults mirrors all images, and leaves no unfinished work. */
  async #complete(): Promise<void> {
    const { upstream, world } = this.#system;
    const since = world.now;
    const { ending = WHOLE } = this.#schedule;
    await this.#perform({ at: 0, do: 'configure', text: ending });
    let ranAt = world.now;
    // A damaged manifest hides the objects below it from the first repair.
    for (let round = 0; round < (this.#isDamaged ? REPAIRS : 1); round += 1) {
      if (this.#isDamaged) await this.#perform({ at: LAST_RUN + round, do: 'verify' });
      ranAt = await this.#perform({ at: LAST_RUN + round, do: 'run' });
    }
    if (ending !== WHOLE) await this.#release(ranAt);
    for (const repository of REPOSITORIES)
      for (const tag of upstream.tagsOf(repository)) {
        const problem = this.#problemOf(repository, tag);
        if (problem !== undefined) throw new Violation(`${repository}:${tag} ${problem}`);
      }
    await this.#referrers();
    await this.#isSound();
    await this.#isClean(since);
  }

  /** The problem of a tag that has neither upstream's digest nor another state that the policy allows. */
  #problemOf(repository: string, tag: string, heldAt = Infinity): string | undefined {
    const { audit, upstream, policies } = this.#system;
    const wanted = upstream.digestOf(repository, tag);
    const found = audit.tagsOf(repository).get(tag);
    const reason = this.#reasonOf(repository, tag);
    if (wanted === undefined) return undefined;
    if (wanted === found)
      return audit.platformsOf(repository, tag) === 'all' ? undefined : `lacks platforms at the end (${reason})`;
    const state = audit.stateOf(repository) ?? NO_STATE;
    const decision = decisionOn(state, tag, wanted)?.action;
    if (decision === 'reject') return undefined;
    const pin = policies.pinOf(repository, tag);
    if (state.policy.moved !== 'follow' && decision === undefined && pin !== undefined && pin !== wanted)
      return found === undefined || found === pin ? undefined : `is ${found}, and not ${pin} as before`;
    const held = state.held.find((each) => each.tag === tag && each.digest === wanted);
    if (held !== undefined && policies.dueAt(repository, tag, wanted) > heldAt) return undefined;
    return `is ${String(found)} at the end, and not ${wanted} (${reason})`;
  }

  /**
   * After one run, every image is visible, or held until the end of its period. One run after that time releases it: a
   * request for the digest of each tag, and no other.
   *
   * @param ranAt the time of the run
   */
  async #release(ranAt: number): Promise<void> {
    const { audit, upstream, policies, world, memory } = this.#system;
    await this.#perform({ at: LAST_RUN, do: 'close' });
    const run = `run-${LAST_RUN + (this.#isDamaged ? REPAIRS : 1) - 1}`;
    const summary = memory.peek(`.mirror/runs/${run}/summary.json`);
    if (summary === undefined || !Buffer.from(summary).toString('utf8').includes('"outcome":"finished"'))
      throw new Violation(`${run} is not closed as finished`);
    let due: number | undefined;
    let tags = 0;
    for (const repository of REPOSITORIES) {
      const { initial, policy } = audit.stateOf(repository) ?? NO_STATE;
      const hasTags = upstream.tagsOf(repository).length > 0;
      if (hasTags && initial === 'open' && policy.initial === 'accept')
        throw new Violation(`the first run of ${repository} does not end`);
      for (const tag of upstream.tagsOf(repository)) {
        tags += 1;
        const problem = this.#problemOf(repository, tag, ranAt);
        if (problem !== undefined) throw new Violation(`${repository}:${tag} ${problem}`);
        const wanted = upstream.digestOf(repository, tag) ?? '';
        const held = audit.stateOf(repository)?.held.some((each) => each.tag === tag && each.digest === wanted);
        if (held === true) due = Math.max(due ?? 0, policies.dueAt(repository, tag, wanted));
      }
    }
    if (due === undefined) return;
    const { heads, gets } = upstream;
    await this.#perform({ at: LAST_RUN + 50, do: 'run' }, Math.max(due - world.now, 0));
    if (upstream.heads > heads + tags) throw new Violation(`a release asks for more digests than there are tags`);
    const mayFetch = this.#schedule.actions.some(({ do: what }) => what === 'attach');
    if (upstream.gets > gets && !mayFetch) throw new Violation('a release fetches from upstream');
  }

  #reasonOf(repository: string, tag: string): string {
    const key = ociLayout.runReport(`run-${LAST_RUN}`, `${repository} ${repository}:${tag}`);
    const { status = 'no report', reason = '' } = this.#system.audit.report(key) ?? {};
    return `${status} ${reason}`.trim();
  }

  /** @returns the time at which the action began */
  async #perform(action: Action, wait = this.#isDamaged ? 25 * HOUR : HOUR): Promise<number> {
    const { world } = this.#system;
    const began = world.now + wait;
    // An image that is pending in an earlier run is left to that for a day.
    world.after(wait, () => {
      perform(this.#system, action);
    });
    await world.run(MAX_EVENTS);
    return began;
  }

  async #isSound(): Promise<void> {
    const { memory } = this.#system;
    const signal = new AbortController().signal;
    const { problems } = await verifyArchive(new Archive(memory, ociLayout), { signal, concurrency: 1 });
    const [first] = problems;
    if (first !== undefined) throw new Violation(`verify finds at the end: ${first.reference}: ${first.reason}`);
  }

  /** Without faults, no process leaves an upload. Uploads of killed processes are removed by age. */
  async #isClean(since: number): Promise<void> {
    // If listings are late, a continuation does not find the previous upload.
    if (this.#schedule.conditions.uploadsListedAfterMs > 0) return;
    for await (const { key, initiated } of this.#system.memory.uploads(''))
      if (initiated.getTime() >= since) throw new Violation(`an upload of ${key} is left`);
  }
}
