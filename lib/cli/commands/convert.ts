import { openArchive } from '../../app/open-archive.ts';
import { formatRepository, isTag, parseReference, withDefaultTag } from '../../oci/reference.ts';
import { show } from '../../oci/show.ts';
import { convertSchema1 } from '../../upkeep/convert.ts';
import { defineCommand, usage } from '../command.ts';
import { EXIT, writeLine } from '../output/io.ts';

export const convert = defineCommand({
  name: 'convert',
  summary: 'add an OCI image beside a Docker schema 1 image',
  usage: ['REFERENCE ARCHIVE [--as TAG]'],
  description: ['REFERENCE is the image as ls prints it.'],
  options: {
    as: { value: 'TAG', help: "the tag of the OCI image (default: the image's tag with -oci appended)" },
  },
  parse(args) {
    const [text, archive, ...more] = args.positionals;
    if (text === undefined || archive === undefined || more.length > 0)
      throw usage('convert', 'name one image as ls does, and the archive that has it');
    const reference = withDefaultTag(parseReference(text));
    const as = args.value('as') ?? `${reference.tag ?? ''}-oci`;
    if (!isTag(as)) throw usage('convert', `${show(as)} is not a tag; name the new image's tag with --as TAG`);
    return async (io) => {
      await using opened = await openArchive(archive, 'read', io);
      const digest = await convertSchema1(opened.archive, reference, { as, now: Date.now(), signal: io.signal });
      writeLine(io.stdout, `${formatRepository(reference)}:${as}: converted  ${digest}`);
      return EXIT.ok;
    };
  },
});
