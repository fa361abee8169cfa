import { writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LambdaFunction, type LambdaOptions } from '../../kit/lambda/function.ts';
import { tempFolder, type TempFolder } from '../../kit/temp.ts';

const HANDLER = `
let calls = 0;
let ticks = 0;
export const handler = async (event, context) => {
  calls += 1;
  console.log('call', calls);
  if (event.do === 'hang') await new Promise(() => setInterval(() => {}, 1000));
  if (event.do === 'throw') throw new RangeError('as asked');
  if (event.do === 'exit') process.exit(3);
  if (event.do === 'tick') setInterval(() => { ticks += 1; }, 1);
  return {
    calls,
    ticks,
    pid: process.pid,
    echo: event,
    remaining: context.getRemainingTimeInMillis(),
    name: context.functionName,
    environment: Object.keys(process.env).filter((name) => !/^(AWS|_|LAMBDA)/.test(name)).sort(),
  };
};
`;

let folder: TempFolder;
const open: LambdaFunction[] = [];

beforeEach(async () => {
  folder = await tempFolder();
});

afterEach(async () => {
  for (const lambda of open.splice(0)) await lambda[Symbol.asyncDispose]();
  await folder.remove();
});

async function sample(options: Partial<LambdaOptions> = {}, handler = HANDLER): Promise<LambdaFunction> {
  await writeFile(folder.join('index.mjs'), handler);
  const lambda = new LambdaFunction({
    name: 'sample',
    bundle: folder.join('index.mjs'),
    environment: { GIVEN: 'yes' },
    timeoutMs: 30_000,
    memory: 256,
    ...options,
  });
  open.push(lambda);
  return lambda;
}

async function returned(lambda: LambdaFunction, event: unknown = {}): Promise<Record<string, unknown>> {
  const { outcome } = await lambda.invoke(event);
  if ('error' in outcome) throw new Error(JSON.stringify(outcome.error));
  return outcome.payload as Record<string, unknown>;
}

async function failed(lambda: LambdaFunction, event: unknown): Promise<unknown> {
  const { outcome } = await lambda.invoke(event);
  return 'error' in outcome ? outcome.error : outcome;
}

describe('a Lambda function under the real runtime', () => {
  test('handles an event in an environment without variables of the tester', async () => {
    const lambda = await sample();
    const answer = await returned(lambda, { a: ['ü', null] });
    expect(answer).toMatchObject({ echo: { a: ['ü', null] }, name: 'sample' });
    expect(answer['remaining']).toBeGreaterThan(20_000);
    expect(answer['remaining']).toBeLessThanOrEqual(30_000);
    expect(answer['environment']).toEqual(['GIVEN', 'HOME', 'LANG', 'PATH', 'TZ']);
    await lambda.logged((lines) => lines.some((line) => line.endsWith('call 1')));
    expect(lambda.invocations[0]).toMatchObject({ initMs: expect.any(Number), durationMs: expect.any(Number) });
  });

  test('reuses a sandbox with its module state', async () => {
    const lambda = await sample();
    const [first, second] = [await returned(lambda), await returned(lambda)];
    expect([first['calls'], second['calls']]).toEqual([1, 2]);
    expect(second['pid']).toBe(first['pid']);
    expect(lambda.invocations.map(({ initMs }) => initMs === undefined)).toEqual([false, true]);
  });

  test('starts as many sandboxes as allowed, and queues further events', async () => {
    const lambda = await sample({ concurrency: 2 });
    const answers = await Promise.all([returned(lambda), returned(lambda), returned(lambda)]);
    expect(new Set(answers.map(({ pid }) => pid)).size).toBe(2);
    expect(answers.map(({ calls }) => calls).toSorted()).toEqual([1, 1, 2]);
  });

  test('is killed at its timeout, and the next event gets a new sandbox', async () => {
    const lambda = await sample({ timeoutMs: 300 });
    expect(await failed(lambda, { do: 'hang' })).toEqual({
      errorType: 'Sandbox.Timedout',
      errorMessage: 'Task timed out after 0.30 seconds',
    });
    expect(await returned(lambda)).toMatchObject({ calls: 1 });
  });

  test('reports a process that has exited', async () => {
    const lambda = await sample();
    expect(await failed(lambda, { do: 'exit' })).toEqual({
      errorType: 'Runtime.ExitError',
      errorMessage: 'Runtime exited with error: exit status 3',
    });
    const hanging = failed(lambda, { do: 'hang' });
    await lambda.logged((lines) => lines.filter((line) => /call \d+$/.test(line)).length >= 2);
    lambda.kill();
    expect(await hanging).toMatchObject({ errorMessage: 'Runtime exited with error: signal: SIGKILL' });
    expect(await returned(lambda)).toMatchObject({ calls: 1 });
  });

  test('reports a thrown error, and keeps its sandbox', async () => {
    const lambda = await sample();
    expect(await failed(lambda, { do: 'throw' })).toMatchObject({ errorType: 'RangeError', errorMessage: 'as asked' });
    expect(await returned(lambda)).toMatchObject({ calls: 2 });
  });

  test('reports a bundle that does not start', async () => {
    const broken = await sample({}, "throw new Error('not today');");
    expect(await failed(broken, {})).toMatchObject({ errorMessage: 'not today' });
    const empty = await sample({}, 'export const other = 1;');
    expect(await failed(empty, {})).toMatchObject({ errorType: 'Runtime.HandlerNotFound' });
  });

  test('is frozen between two events', async () => {
    const lambda = await sample();
    const { pid } = await returned(lambda, { do: 'tick' });
    // The second sandbox's whole start and event take far longer than a tick.
    const other = await sample();
    await returned(other);
    const { ticks, pid: same } = await returned(lambda);
    expect(same).toBe(pid);
    expect(ticks).toBeLessThan(10);
  });
});
