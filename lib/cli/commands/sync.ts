import { stat } from 'node:fs/promises';
import { readConfig, readTrustedRoot, STDIN } from '../../app/config-file.ts';
import { DEFAULT_CONCURRENCY } from '../../app/defaults.ts';
import { type OpenArchive, openArchive } from '../../app/open-archive.ts';
import { reportRun, runSummaryOf } from '../../app/run-summary.ts';
import { runSync, type SyncRequest } from '../../app/sync.ts';
import { withoutSecrets } from '../../core/secrets.ts';
import { defineCommand, usage } from '../command.ts';
import { EXIT, type Io, stoppedCode } from '../output/io.ts';
import { printerFor, PROGRESS } from '../output/output.ts';
import { parseSync, type SyncCommand } from '../sync-arguments.ts';

export const sync = defineCommand({
  name: 'sync',
  summary: 'mirror images into an archive',
  usage: ['REFERENCE… --to ARCHIVE [options]', '--config FILE [REFERENCE…] --to ARCHIVE [options]'],
  description: [
    'A name without a tag means its latest; with --all-tags or --tags it means the repository. With --config, references ' +
      'select what is mirrored of the file: a name selects a repository with its tags, a name with a tag selects that image. ' +
      'With neither, the file is the one that MIRROR_SYNC_CONFIG names, or mirror.yaml in the working directory.',
  ],
  options: {
    to: {
      value: 'ARCHIVE',
      isPath: true,
      help: 'a folder, or s3://bucket/prefix (default: MIRROR_SYNC_ARCHIVE)',
      elsewhere: ['d', 'dest', 'destination', 'dest-dir', 'o', 'output', 'target'],
    },
    config: {
      value: 'FILE',
      isPath: true,
      help: 'a mirror.yaml (docs/configuration.md); - reads it from standard input',
      elsewhere: ['file', 'f', 'c'],
    },
    'all-tags': { help: 'mirror every tag of each repository', elsewhere: ['all'] },
    tags: {
      value: 'PATTERN',
      isRepeatable: true,
      help: "mirror the tags that match, such as 'v1.*'; may be repeated",
      elsewhere: ['tag'],
    },
    platform: {
      value: 'OS/ARCH[/VARIANT]',
      isRepeatable: true,
      help: 'mirror only these platforms of a multi-platform image; may be repeated',
      elsewhere: ['arch', 'os', 'all-platforms'],
    },
    'foreign-layers': {
      choices: ['fetch', 'skip'],
      help: 'non-distributable layers of Windows images: fetch them (default) or skip them',
    },
    'strict-media-types': {
      help: 'refuse images with layers that are not compressed as declared (default: a warning)',
    },
    'insecure-registry': {
      value: 'HOST',
      isRepeatable: true,
      help: 'accept any certificate, or plain HTTP, from this registry; may be repeated (not needed for loopback)',
      elsewhere: ['insecure', 'insecure-policy', 'src-tls-verify', 'tls-verify'],
    },
    authfile: {
      value: 'FILE',
      isPath: true,
      help: "credentials in the format of Docker's config.json (default: where Docker, podman and skopeo keep theirs)",
      elsewhere: ['auth-file', 'creds-file'],
    },
    concurrency: {
      value: 'N',
      help: `connections per registry (default: ${DEFAULT_CONCURRENCY})`,
      elsewhere: ['jobs', 'j', 'parallel'],
    },
    'foreign-host': {
      value: 'HOST',
      isRepeatable: true,
      help: "fetch foreign layers from this host too, like *.example.com (default: Microsoft's hosts); may be repeated",
    },
    'max-wait': {
      value: 'DURATION',
      help: 'give up on a registry that refuses all requests for its rate limit for longer than this, such as 90s, 15m or 6h (default: 15m)',
    },
    notify: {
      value: 'URL',
      help:
        'send the summary of the run to this URL when it ends, signed with the key in MIRROR_SYNC_NOTIFY_KEY ' +
        '(docs/notifications.md)',
    },
    'trusted-root': {
      value: 'FILE',
      isPath: true,
      help: "verify signatures by certificates against this trusted_root.json, where the archive's policy requires them (docs/trust.md)",
    },
    'attest-key': {
      value: 'FILE',
      isPath: true,
      help: 'sign the attestations that a policy requests with this private key in PEM, or with a key in AWS KMS, named by its ARN (default: MIRROR_SYNC_ATTEST_KEY)',
      elsewhere: ['key'],
    },
    progress: {
      choices: PROGRESS,
      help:
        'bars on a terminal, a line per result, or only notices, warnings and the summary (default: bar on a terminal, plain ' +
        'elsewhere and where TERM=dumb, NO_COLOR or CI is set)',
    },
    quiet: { short: 'q', help: 'print only failures, warnings and the summary', elsewhere: ['silent'] },
    json: { help: 'one JSON object per line; the last is the summary (docs/json.md)' },
  },
  parse(args, env) {
    const command = parseSync(args, env);
    return async (io) => {
      await requireConfig(command);
      await using opened = await openArchive(command.to, 'write', io);
      return await syncAndReport(command, opened, io);
    };
  },
});

/** Runs the sync and prints its progress. Resolves to the exit code. */
async function syncAndReport(command: SyncCommand, opened: OpenArchive, io: Io): Promise<number> {
  const { env, signal } = io;
  await refuseFiles(command.names);
  const files = await readFiles(command, io);
  const printer = printerFor(command, io);
  const { expect, event, notice } = printer;
  const sayStopping = (): void => notice('stopping; received data is kept (repeat to exit immediately)');
  if (command.isConfigImplied) notice(`using ${command.config}`);
  signal.addEventListener('abort', sayStopping, { once: true });
  try {
    const summary = await runSync({ ...command, ...files }, opened, { env, signal, expect, event, notice });
    printer.summary(summary);
    await reportRun(runSummaryOf(summary, Date.now()), opened.archive, { target: command.notify, signal, notice });
    if (signal.aborted) return stoppedCode(signal);
    if (summary.failed > 0) return EXIT.failed;
    return summary.drifted > 0 ? EXIT.drifted : EXIT.ok;
  } finally {
    signal.removeEventListener('abort', sayStopping);
    printer.close();
  }
}

async function readFiles(
  { config, trustedRoot: root }: SyncCommand,
  io: Io,
): Promise<Required<Pick<SyncRequest, 'config' | 'trustedRoot'>>> {
  return {
    config: config === undefined ? undefined : await readConfig(config, io),
    trustedRoot: root === undefined ? undefined : await readTrustedRoot('read --trusted-root', root, io),
  };
}

/** Refuses a command without references and without a configuration. */
async function requireConfig({ config, isConfigImplied }: SyncCommand): Promise<void> {
  if (config === undefined || !isConfigImplied || config === STDIN || (await isFile(config))) return;
  throw usage(
    'sync',
    `name at least one image, such as alpine:3.20, or a configuration with --config FILE (${withoutSecrets(config)} does not exist)`,
  );
}

/** Refuses a file name as a reference; it is probably a configuration without --config. */
async function refuseFiles(names: readonly string[]): Promise<void> {
  for (const name of names)
    if (/\.ya?ml$/i.test(name) && (await isFile(name)))
      throw usage('sync', `${name} is a file, not an image; did you mean --config ${name}?`);
}

async function isFile(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() === true;
}
