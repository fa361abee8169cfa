/** Fill on miss for `mirror-sync serve --config`: syncs the images that clients miss, in this process. */
import { readConfig } from '../app/config-file.ts';
import { orderForMissing } from '../app/missing.ts';
import { OnDemand } from '../app/on-demand.ts';
import { Failure, invalid } from '../core/failure.ts';
import type { MirrorEvent } from '../sync/events.ts';
import type { Fill } from '../serve/fill.ts';
import { type Io, writeJson, writeLine } from './output/io.ts';
import type { ServeCommand } from './serve-arguments.ts';

export interface Filling {
  readonly fill: Fill;
  /** Resolves when no sync runs; the signal ends them. */
  ended(): Promise<void>;
}

/**
 * Undefined without a configuration.
 *
 * @throws Failure (side `input`) for a wrong configuration, and for an archive that is not writable
 */
export async function openFill(command: ServeCommand, io: Io): Promise<Filling | undefined> {
  const { archive, json } = command;
  if (command.config === undefined) return undefined;
  const config = await readConfig(command.config, io);
  const notice = (text: string): void => writeLine(io.stderr, text);
  const event = (of: MirrorEvent): void => {
    const text = textOf(of);
    if (text === undefined) return;
    if (json) writeJson(io.stdout, of);
    else notice(text);
  };
  const onDemand = await OnDemand.open({ ...io, archive, config, event, notice }).catch((error: unknown) => {
    if (!(error instanceof Failure) || error.side !== 'input') throw error;
    throw invalid(error.operation, `${error.detail}; --config needs write access, to mirror missing images`);
  });
  const { Fill } = await import('../serve/server.ts');
  const fill = new Fill({
    order(missing) {
      const order = orderForMissing(missing, config, Date.now());
      if (order === undefined) return undefined;
      return {
        key: order.key,
        send() {
          onDemand.start(order);
          return Promise.resolve();
        },
      };
    },
    onFault: notice,
  });
  return { fill, ended: () => onDemand.ended() };
}

/** The line for the result of an ordered image; undefined for any other event. */
function textOf(event: MirrorEvent): string | undefined {
  if (event.type !== 'image' || event.status === 'pending' || event.status === 'unchanged') return undefined;
  const { reference, status, digest = '', until, code = '', reason = '' } = event;
  if (status === 'failed') return `mirror ${reference}: ${reason} (${code})`;
  return `${status} ${reference}  ${digest}${until === undefined ? '' : ` (until ${until})`}`;
}
