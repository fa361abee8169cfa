/** What `mirror-sync --help` prints, and `mirror-sync help COMMAND`. Lines have at most 80 characters. */

/** As many as browsers open to a few hosts; with 20 ms of round trip, a thousand unchanged tags take two seconds. */
export const DEFAULT_CONCURRENCY = 12;

export const COMMANDS = ['sync', 'check', 'ls', 'verify', 'convert', 'status'] as const;
export type CommandName = (typeof COMMANDS)[number];

export const OVERVIEW = `mirror-sync: mirrors container images into a folder or S3, and proves every byte

  mirror-sync sync REFERENCE… --to ARCHIVE       mirror images
  mirror-sync sync --config FILE --to ARCHIVE    mirror what a mirror.yaml names
  mirror-sync check [--config] FILE              validate a mirror.yaml
  mirror-sync ls ARCHIVE [REPOSITORY…]           list what an archive holds
  mirror-sync verify ARCHIVE [REPOSITORY…]       read and hash everything again
  mirror-sync convert REFERENCE ARCHIVE          add an OCI image beside a
                                                 Docker schema 1 image
  mirror-sync status ARCHIVE [RUN]               show the results of an AWS run
  mirror-sync help COMMAND                       show the options of a command
  mirror-sync --version

REFERENCE is an image as docker pull takes it: alpine, ghcr.io/org/app:1.2,
localhost:5000/app@sha256:…
ARCHIVE is a folder, or s3://bucket/prefix.

sync takes among others --all-tags, --tags PATTERN, --platform OS/ARCH and
--authfile FILE: see mirror-sync help sync.

Exit code: 0 when every image is mirrored or unchanged, 1 when any failed,
2 for wrong usage, 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.
`;

export const HELP: Readonly<Record<CommandName, string>> = {
  sync: `mirror-sync sync: mirror images into an archive

  mirror-sync sync REFERENCE… --to ARCHIVE [options]
  mirror-sync sync --config FILE [REFERENCE…] --to ARCHIVE [options]

A name without a tag means its latest; with --all-tags or --tags it means the
repository. With --config, references select what is mirrored of the file: a
name selects a repository with its tags, a name with a tag selects that image.
With neither, the file is the one that MIRROR_SYNC_CONFIG names, or mirror.yaml
in the working directory.

  --to ARCHIVE                   a folder, or s3://bucket/prefix (default:
                                 MIRROR_SYNC_ARCHIVE)
  --config FILE                  a mirror.yaml (docs/configuration.md); - reads
                                 it from standard input
  --all-tags                     mirror every tag of each repository
  --tags PATTERN                 mirror the tags that match, such as 'v1.*'; may
                                 be repeated
  --platform OS/ARCH[/VARIANT]   mirror only these platforms of a multi-platform
                                 image; may be repeated
  --foreign-layers fetch|skip    non-distributable layers of Windows images:
                                 fetch them (default) or skip them
  --strict-media-types           refuse images with layers that are not
                                 compressed as declared (default: a warning)
  --insecure-registry HOST       accept any certificate, or plain HTTP, from
                                 this registry; may be repeated (not needed
                                 for loopback)
  --authfile FILE                credentials in the format of Docker's
                                 config.json (default: where Docker, podman and
                                 skopeo keep theirs)
  --concurrency N                connections per registry (default: ${DEFAULT_CONCURRENCY})
  --foreign-host HOST            fetch foreign layers from this host too, like
                                 *.example.com (default: Microsoft's hosts); may
                                 be repeated
  --max-wait DURATION            give up on a registry that limits requests and
                                 lets none through for longer, such as 90s, 15m
                                 or 6h (default: 15m)
  --progress bar|plain|none      bars on a terminal, a line per result, or
                                 nothing but warnings and the summary (default:
                                 bar on a terminal, plain elsewhere and where
                                 TERM=dumb, NO_COLOR or CI is set)
  --quiet, -q                    print only failures, warnings and the summary
  --json                         one JSON object per line; the last is the
                                 summary (docs/json.md)
`,
  check: `mirror-sync check: validate a mirror.yaml without using the network

  mirror-sync check [--config] FILE [--json]

FILE - is standard input. Every problem is reported with its line and column.
Exit code: 0 when the file is valid, 2 when it is not.

  --json                         one JSON object
`,
  ls: `mirror-sync ls: list what an archive holds

  mirror-sync ls ARCHIVE [REPOSITORY…] [--json]

Lists tags first, then the digests that are kept without a tag: with the tag
that they had, and when it was seen to name another digest.

  --json                         one JSON object per line
`,
  verify: `mirror-sync verify: read and hash everything in an archive again

  mirror-sync verify ARCHIVE [REPOSITORY…] [--json]
  mirror-sync verify ARCHIVE --repair [--yes] [--json]

Believes no receipt. Progress goes to standard error.

  --repair                       remove corrupt blobs and the references to them
                                 (the next sync restores their tags if upstream
                                 still has them), and rewrite the receipts of
                                 what was proven. What would be removed is
                                 listed first, and a question is asked
  --yes                          repair without the question; needed where
                                 there is no terminal
  --json                         one JSON object per line; the last is the
                                 summary
`,
  convert: `mirror-sync convert: add an OCI image beside a Docker schema 1 image

  mirror-sync convert REFERENCE ARCHIVE [--as TAG]

  --as TAG                       the tag of the OCI image (default: the image's
                                 tag with -oci appended)
`,
  status: `mirror-sync status: show the results of a run on AWS

  mirror-sync status ARCHIVE [RUN] [--json]

RUN is the latest run by default.

  --json                         one JSON object per line; the last is the
                                 summary
`,
};
