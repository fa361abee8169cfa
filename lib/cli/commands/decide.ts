/** `release` and `reject`: the decisions of a person about withheld images. */
import { callerOf } from '../../app/caller.ts';
import { openArchive } from '../../app/open-archive.ts';
import { type Decided, decideImage } from '../../upkeep/decide.ts';
import { type Decision, MAX_DECISION_TEXT } from '../../policy/decisions.ts';
import { parseReference } from '../../oci/reference.ts';
import { show } from '../../oci/show.ts';
import { type Command, defineCommand, usage } from '../command.ts';
import { EXIT, writeJson, writeLine } from '../output/io.ts';

type Action = Decision['action'];

function decisionCommand(name: Action, summary: string, description: string): Command {
  return defineCommand({
    name,
    summary,
    usage: ['REFERENCE ARCHIVE --reason TEXT [--json]'],
    description: [
      description,
      'REFERENCE has a tag, a digest, or both. The decision, its reason, its time and its author (the AWS principal, or the name of ' +
        'the user) are recorded in the tag index of the repository.',
    ],
    options: {
      reason: { value: 'TEXT', help: 'the reason, for the record; required' },
      json: { help: 'one JSON object (docs/json.md)' },
    },
    parse(args) {
      const [text, archive, ...more] = args.positionals;
      if (text === undefined || archive === undefined || more.length > 0)
        throw usage(name, 'name one image as ls --held does, and the archive that has it');
      const reference = parseReference(text);
      if (reference.tag === undefined && reference.digest === undefined)
        throw usage(name, `${show(text)} names a repository; name a tag or a digest of it`);
      const reason = (args.value('reason') ?? '').trim();
      if (reason === '' || reason.length > MAX_DECISION_TEXT)
        throw usage(name, `give a reason of 1 to ${MAX_DECISION_TEXT} characters with --reason`);
      const isJson = args.has('json');
      return async (io) => {
        await using opened = await openArchive(archive, 'read', io);
        const by = await callerOf(archive, io.env);
        const options = { action: name, by, reason, now: Date.now(), signal: io.signal };
        const decided = await decideImage(opened.archive, reference, options);
        if (isJson) writeJson(io.stdout, jsonOf(decided, name, by));
        else writeLine(io.stdout, sentenceOf(decided, name, by));
        return EXIT.ok;
      };
    },
  });
}

export const release = decisionCommand(
  'release',
  'show a withheld image before its time',
  'Shows a held image at once. An image without a verified signature, or one that the archive does not have yet, is shown by the ' +
    'next sync.',
);

export const reject = decisionCommand(
  'reject',
  'hide an image from clients',
  'Hides a digest under all tags of the repository: clients cannot pull it, and a sync does not bring it back. The content stays in ' +
    'the archive. A later release cancels the rejection.',
);

function referenceOf({ repository, tag, digest }: Decided): string {
  return `${repository}${tag === undefined ? '' : `:${tag}`}@${digest}`;
}

function jsonOf(decided: Decided, action: Action, by: string): object {
  const { digest, isVisible: visible } = decided;
  return { type: 'decision', action, reference: referenceOf(decided), digest, by, visible };
}

function sentenceOf(decided: Decided, action: Action, by: string): string {
  const name = referenceOf(decided);
  if (action === 'reject') return `rejected ${name} as ${by}; the content stays in the archive`;
  return decided.isVisible
    ? `released ${name} as ${by}`
    : `released ${name} as ${by}; the next sync shows it, if upstream still names it`;
}
