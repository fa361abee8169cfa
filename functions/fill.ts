import { orderForMissing } from '../lib/app/missing.ts';
import type { Environment } from '../lib/config/environment.ts';
import { Fill } from '../lib/serve/fill.ts';
import { configFrom, openQueues } from './aws.ts';

/** A client waits for the order, because Lambda freezes the function after its response. */
const SEND_MS = 3_000;

/** Sends the images that clients of the registry miss to the resolver. The queue drops equal orders of other sandboxes. */
export function fillFrom(
  { config: location, resolveQueue }: Pick<Environment, 'config' | 'resolveQueue'>,
  onFault: (reason: string) => void,
): Fill {
  const config = configFrom(location);
  const queues = openQueues({ resolve: resolveQueue });
  return new Fill({
    async order(missing) {
      const order = orderForMissing(missing, await config(), Date.now());
      if (order === undefined) return undefined;
      const send = (): Promise<void> =>
        queues.send('resolve', order.messages, { signal: AbortSignal.timeout(SEND_MS) });
      return { key: order.key, send };
    },
    onFault,
  });
}
