import type { Archive } from '../../archive/archive.ts';
import { convertSchema1 } from '../../upkeep/convert.ts';
import { formatRepository } from '../../oci/reference.ts';
import type { ConvertCommand } from '../command.ts';
import { EXIT, type Io, writeLine } from '../output/io.ts';

/** Puts an OCI image beside a schema 1 image of an archive. */
export async function convert(command: ConvertCommand, archive: Archive, { stdout, signal }: Io): Promise<number> {
  const { reference, as } = command;
  const digest = await convertSchema1(archive, reference, { as, now: Date.now(), signal });
  writeLine(stdout, `${formatRepository(reference)}:${as}: converted  ${digest}`);
  return EXIT.ok;
}
