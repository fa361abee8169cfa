/** Actions of people, registries and disks on the system, at chosen times. */
import { changeMessage } from '../../lib/queue/outgoing.ts';
import { parseReference } from '../../lib/oci/reference.ts';
import { closeRuns } from '../../lib/sync/run/close-runs.ts';
import { emptyMemory } from '../../lib/sync/run/open-run.ts';
import { decideImage } from '../../lib/upkeep/decide.ts';
import { verifyArchive } from '../../lib/upkeep/verify.ts';
import { repairArchive } from '../../lib/upkeep/repair.ts';
import { ordersFor, runOf } from '../../lib/webhook/orders.ts';
import { startRun } from '../../functions/handlers/start-run.ts';
import { instanceOf } from './functions.ts';
import { IMAGES } from './images.ts';
import { Process } from './process.ts';
import { read } from './reader.ts';
import { sync } from './sync.ts';
import type { System } from './system.ts';
import type { Mood } from './upstream.ts';

export type Action = { readonly at: number } & (
  | { readonly do: 'push'; readonly repository: string; readonly tag: string; readonly image: number }
  | { readonly do: 'delete'; readonly repository: string; readonly tag: string }
  | { readonly do: 'attach'; readonly repository: string; readonly tag: string; readonly number: number }
  | { readonly do: 'mood'; readonly host: string; readonly mood: Mood; readonly forMs: number }
  | { readonly do: 'configure'; readonly text: string }
  | { readonly do: 'run' }
  | { readonly do: 'request'; readonly reference: string }
  | { readonly do: 'sync'; readonly reference: string; readonly isConfigured?: boolean }
  | { readonly do: 'webhook'; readonly repository: string; readonly tag: string }
  | { readonly do: 'close' }
  | { readonly do: 'release' | 'reject'; readonly reference: string }
  | { readonly do: 'verify' }
  | { readonly do: 'damage'; readonly blob: number }
  | { readonly do: 'read'; readonly times: number }
);

/** The tries of a start: Scheduler and asynchronous invocations repeat a failed one. */
const TRIES = 3;
const BETWEEN_TRIES_MS = 60_000;

/** Performs an action now. Longer work continues in a separate process. */
export function perform(system: System, action: Action): void {
  const { world, upstream } = system;
  const name = `${action.do} at ${(action.at / 1_000).toFixed(0)} s`;
  world.say('action', describe(action));
  switch (action.do) {
    case 'push':
      upstream.push(action.repository, action.tag, IMAGES[action.image % IMAGES.length]!);
      return;
    case 'attach':
      upstream.attach(action.repository, action.tag, action.number);
      return;
    case 'delete':
      upstream.delete(action.repository, action.tag);
      return;
    case 'mood':
      upstream.begin(action.host, action.mood);
      world.after(action.forMs, () => {
        upstream.end(action.host, action.mood);
      });
      return;
    case 'configure':
      system.configure(action.text);
      return;
    case 'damage':
      damage(system, action.blob);
      return;
    case 'run':
    case 'request':
    case 'webhook':
      start(system, action, name, 1);
      return;
    case 'verify':
      verify(system, name);
      return;
    case 'close':
      closeFinished(system, name);
      return;
    case 'release':
    case 'reject':
      decide(system, action, name);
      return;
    case 'sync': {
      const process = new Process(name, world, system.faults);
      settle(process, sync(system, process, action), () => undefined);
      return;
    }
    case 'read':
      read(system, name, action.times);
  }
}

function describe({ at: _at, ...action }: Action): string {
  return Object.values(action)
    .map((value) => String(value).replaceAll('\n', ' ').slice(0, 200))
    .join(' ');
}

/** Sends the first messages of a run; the name of the run is that of the action, so that a repeated try is the same run. */
function start(
  system: System,
  action: Action & { readonly do: 'run' | 'request' | 'webhook' },
  name: string,
  attempt: number,
): void {
  const { world, faults } = system;
  const again = (): void => {
    if (attempt < TRIES) world.after(BETWEEN_TRIES_MS, () => start(system, action, name, attempt + 1));
  };
  const process = new Process(`${name}, try ${attempt}`, world, faults, again);
  const { archive, config } = instanceOf(system, process);
  const ports = { archive, config, queues: system.queuesFor(process) };
  const signal = process.timeout(60_000);
  const run = `${action.do}-${action.at}`;
  const work = async (): Promise<unknown> => {
    if (action.do === 'run') return startRun({ kind: 'schedule', run }, ports, signal);
    if (action.do === 'request')
      return startRun({ kind: 'references', run, request: { references: [action.reference] } }, ports, signal);
    const { repository, tag } = action;
    const messages = ordersFor([{ repository, tag }], await config(), runOf('webhook', run));
    return ports.queues.send('resolve', messages, { signal });
  };
  settle(process, work(), again);
}

function verify(system: System, name: string): void {
  const { world, faults, audit } = system;
  let isRepairing = false;
  const since = world.now;
  const over = (): void => {
    if (isRepairing) audit.repairing(false);
    isRepairing = false;
  };
  const process = new Process(name, world, faults, over);
  const { archive } = instanceOf(system, process);
  const signal = new AbortController().signal;
  const work = async (): Promise<void> => {
    const { problems, checked } = await verifyArchive(archive, { signal, concurrency: 2 });
    for (const { reference, digest = '', reason } of problems) world.say(name, `${reference}: ${digest} ${reason}`);
    audit.repairing(true);
    isRepairing = true;
    await repairArchive(archive, problems, { signal, now: world.now, checked });
    audit.repaired(new Set(problems.flatMap(({ digest, repair }) => (repair.drop ? (digest ?? []) : []))), since);
  };
  settle(process, work().finally(over), () => undefined);
}

/** The decision of an operator about an image. */
function decide(system: System, action: Action & { readonly do: 'release' | 'reject' }, name: string): void {
  const { world, faults, policies } = system;
  const process = new Process(name, world, faults);
  const { archive } = instanceOf(system, process);
  const reference = parseReference(action.reference);
  const options = { action: action.do, by: 'lena', reason: 'a reason', now: world.now };
  const work = async (): Promise<void> => {
    const { repository, tag, digest, isVisible } = await decideImage(archive, reference, {
      ...options,
      signal: process.timeout(60_000),
    });
    world.say(name, `decides on ${digest} of ${String(tag)}, which is ${isVisible ? 'visible' : 'not visible'} now`);
    policies.decided(repository, action.do, tag, digest, options.now);
  };
  settle(process, work(), () => undefined);
}

/** The function that closes runs, which also ends `initial: accept` after the first run of a repository. */
function closeFinished(system: System, name: string): void {
  const { world, faults } = system;
  const process = new Process(name, world, faults);
  const { archive } = instanceOf(system, process);
  const queues = system.queuesFor(process);
  const signal = process.timeout(60_000);
  const work = closeRuns(
    {
      archive,
      receivers: [],
      now: () => world.now,
      triggerOf: () => 'push',
      firstRunFinished: (repository, run) => {
        const order = { run, source: repository, repository, platforms: 'all' } as const;
        return queues.send('finalize', [changeMessage(order, { completed: world.now })], { signal });
      },
      closed: ({ run, outcome }) => {
        world.say(name, `closes ${run}: ${outcome}`);
      },
      log: () => undefined,
      signal,
    },
    emptyMemory(),
  );
  settle(process, work, () => undefined);
}

/** Ends a process with its work. */
function settle(process: Process, work: Promise<unknown>, onFailure: () => void): void {
  work.then(
    () => {
      process.end();
    },
    (error: unknown) => {
      process.world.say(process.name, `fails: ${String(error)}`);
      process.end();
      onFailure();
    },
  );
}

/** Changes one bit of a blob. */
function damage({ memory, audit, world }: System, number: number): void {
  const blobs = memory.keys().filter((key) => key.startsWith('blobs/'));
  const key = blobs[number % blobs.length];
  const bytes = key === undefined ? undefined : memory.peek(key);
  if (key === undefined || bytes === undefined || bytes.length === 0) return;
  const wrong = new Uint8Array(bytes);
  wrong[0] = (wrong[0] ?? 0) ^ 1;
  audit.damaged(key.slice('blobs/'.length).replace('/', ':'));
  memory.damage(key, wrong);
  world.say('disk', `damages ${key}`);
}
