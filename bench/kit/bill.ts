/** The cost of work on a stack: counted requests, and the memory of the functions over time. */
import type { Counting } from '../../test/kit/counting.ts';
import { type FunctionName, FUNCTIONS, MEMORY } from '../../test/kit/lambda/deployment.ts';
import type { Stack } from '../../test/kit/lambda/stack.ts';
import { EVENT, GIGABYTE_OF_LOGS, GIGABYTE_SECOND, INVOCATION, REQUEST, serviceOf } from './prices.ts';
import { table } from './report.ts';

export interface Bill {
  /** By operation. */
  readonly requests: ReadonlyMap<string, number>;
  readonly events: number;
  readonly logBytes: number;
  readonly functions: ReadonlyMap<FunctionName, Use>;
}

interface Use {
  readonly invocations: number;
  /** Configured memory times duration, in GiB and seconds, including the start of the sandbox, as Lambda bills it. */
  readonly gigabyteSeconds: number;
  readonly cpuSeconds: number;
}

const QUEUES = ['resolve', 'layer', 'finalize'];

/** The log lines that Lambda itself writes for an invocation: START, END and REPORT. */
const LOG_BYTES_OF_LAMBDA = 350;

/** Runs `work` and waits until all queues are empty. */
export async function billFor(stack: Stack, counted: Counting, work: () => Promise<unknown>): Promise<Bill> {
  const received = (): number => QUEUES.reduce((sum, queue) => sum + stack.batches(queue).length, 0);
  const logged = (): number => FUNCTIONS.flatMap((name) => stack.functions[name].logs).join('\n').length;
  const before = { received: received(), events: stack.events.length, logged: logged() };
  const done = new Map(FUNCTIONS.map((name) => [name, stack.functions[name].invocations.length]));
  counted.forget();
  await work();
  await stack.drained();
  const requests = new Map(Object.entries(counted.counts));
  // The stack polls these to detect that the queues are empty.
  requests.delete('GetQueueAttributes');
  // Empty receives are not counted: they are caused by waiting, and not by work.
  requests.set('ReceiveMessage', received() - before.received);
  const functions = FUNCTIONS.flatMap((name): [FunctionName, Use][] => {
    const own = stack.functions[name].invocations.slice(done.get(name));
    if (own.length === 0) return [];
    const ms = own.reduce((sum, { durationMs, initMs = 0 }) => sum + durationMs + initMs, 0);
    const cpu = own.reduce((sum, { cpuMs = NaN }) => sum + cpuMs, 0);
    const gigabyteSeconds = (ms / 1000) * (MEMORY[name] / 1024);
    return [[name, { invocations: own.length, gigabyteSeconds, cpuSeconds: cpu / 1000 }]];
  });
  const invocations = functions.reduce((sum, [, use]) => sum + use.invocations, 0);
  return {
    requests,
    events: stack.events.length - before.events,
    logBytes: logged() - before.logged + invocations * LOG_BYTES_OF_LAMBDA,
    functions: new Map(functions),
  };
}

export function billTable(bill: Bill): string {
  const items = rows(bill);
  const total = items.reduce((sum, { dollars }) => sum + dollars, 0);
  const all = items.map(({ what, amount, dollars }) => [what, amount, dollars.toFixed(7)]);
  return table(['', 'number', '$'], [...all, ['**in all**', '', `**${total.toFixed(7)}**`]]);
}

interface Row {
  readonly what: string;
  readonly amount: string;
  readonly dollars: number;
}

function rows({ requests, events, logBytes, functions }: Bill): Row[] {
  const uses = [...functions.values()];
  const invocations = uses.reduce((sum, use) => sum + use.invocations, 0);
  return [
    ...[...requests].map(([operation, count]): Row => {
      const service = serviceOf(operation);
      return { what: `${service}: ${operation}`, amount: String(count), dollars: count * REQUEST[service] };
    }),
    ...(events === 0 ? [] : [{ what: 'EventBridge: events', amount: String(events), dollars: events * EVENT }]),
    { what: 'CloudWatch: bytes of logs', amount: String(logBytes), dollars: (logBytes / 1e9) * GIGABYTE_OF_LOGS },
    { what: 'Lambda: invocations', amount: String(invocations), dollars: invocations * INVOCATION },
    ...[...functions].map(([name, { gigabyteSeconds, cpuSeconds }]): Row => ({
      what: `Lambda: GB-seconds of ${name} (processor: ${cpuSeconds.toFixed(1)} s)`,
      amount: gigabyteSeconds.toFixed(2),
      dollars: gigabyteSeconds * GIGABYTE_SECOND,
    })),
  ].sort((a, b) => b.dollars - a.dollars);
}
