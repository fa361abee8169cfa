import { InProcessQueues } from '../../lib/queue/in-process/in-process.ts';
import { ManualClock } from '../unit/queue/manual-clock.ts';
import { queuesContract, type QueuesUnderTest } from './queues.ts';

const MAX_RECEIVES = 3;

queuesContract('in process', () => {
  const clock = new ManualClock();
  const dead: string[] = [];
  const queues = new InProcessQueues({
    deadLetter: async ({ delivery: { message } }) => {
      await Promise.resolve();
      dead.push(message.type === 'finalize' ? (message.image.tag ?? '') : message.type);
    },
    maxReceives: MAX_RECEIVES,
    retryMs: 0,
    clock,
  });
  const under: QueuesUnderTest = {
    queues,
    maxReceives: MAX_RECEIVES,
    dead,
    consume: (queue, consumer) => {
      queues.consume(queue, consumer);
    },
    idle: () => queues.idle(),
    elapse: async (ms) => {
      await Promise.resolve();
      clock.advance(ms);
    },
    [Symbol.asyncDispose]: () => queues.stop(),
  };
  return Promise.resolve(under);
});
