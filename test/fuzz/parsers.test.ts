import fc from 'fast-check';
import { describe, test } from 'vitest';
import { parseJournal } from '../../lib/store/folder/journal.ts';
import { parseReceipt, serialiseReceipt, serialiseRevocation } from '../../lib/archive/receipt.ts';
import { parseS3Url } from '../../lib/store/s3/url.ts';
import { readEntry } from '../../lib/archive/tag-index/entry.ts';
import { timesUpTo } from '../../lib/archive/tag-index/times.ts';
import { Failure } from '../../lib/core/failure.ts';
import { JsonFault, readJson } from '../../lib/core/json.ts';
import { parseCommand } from '../../lib/cli/parse.ts';
import { parseConfig } from '../../lib/config/config.ts';
import { parseHost } from '../../lib/config/hosts.ts';
import { parseGlob } from '../../lib/oci/glob.ts';
import { parseImageConfig } from '../../lib/oci/config.ts';
import { parseDigest } from '../../lib/oci/digest.ts';
import { Place } from '../../lib/oci/document.ts';
import { parseManifest } from '../../lib/oci/manifest.ts';
import { parsePlatform } from '../../lib/oci/platform.ts';
import { parseReference, parseRepository } from '../../lib/oci/reference.ts';
import { finalizeMessage, layerMessage, resolveMessage } from '../../lib/queue/outgoing.ts';
import { parseMessage } from '../../lib/queue/parse.ts';
import { parseChallenges } from '../../lib/core/http/challenge.ts';
import { parseDockerConfig } from '../../lib/registry/auth/credentials.ts';
import { parseRetryAfter } from '../../lib/core/http/time.ts';
import { refusal, registryErrors } from '../../lib/registry/errors.ts';
import { parseLinks } from '../../lib/core/http/link.ts';
import { parseContentRange } from '../../lib/core/http/content.ts';
import { parseToken } from '../../lib/registry/auth/tokens.ts';
import { translateEcr } from '../../lib/webhook/ecr.ts';
import { parseSecrets } from '../../lib/webhook/secrets.ts';
import { translate } from '../../lib/webhook/translate.ts';
import { makeImage, makeIndex, makeLayer } from '../kit/images.ts';
import { digestFor, IMAGE, LAYER, ORDER } from '../unit/queue/samples.ts';
import { deliveryOf, ECR, GOOD, SECRETS } from '../unit/webhook/samples.ts';
import { budget, HANG_MS } from './budget.ts';
import { hostileTexts } from './texts.ts';

interface Parser {
  readonly name: string;
  /** Valid inputs, to be edited. */
  readonly samples: readonly string[];
  readonly parse: (text: string) => unknown;
  /** The text's author is the user, and the command line escapes what it prints. */
  readonly isOfUser?: true;
}

const image = makeImage({ layers: [makeLayer({ size: 10 }), makeLayer({ size: 10, seed: 2, compression: 'zstd' })] });
const digest = digestFor('blob');
const blob = { digest, mediaType: LAYER, size: 123 };
const receipt = serialiseReceipt({
  version: 1,
  digest,
  size: 123,
  diffIds: { sha256: digestFor('unpacked') },
  compression: 'gzip',
  source: 'docker.io/library/alpine',
  verifiedAt: '2026-01-31T00:00:00.000Z',
});

const ENTRY = JSON.stringify({
  ...image.descriptor,
  annotations: {
    'org.opencontainers.image.ref.name': '3.20',
    'dev.mirror-sync.observed': '2026-01-31T00:00:00.000Z',
  },
});

const CONFIG = `version: 1
defaults: { destination: 'mirror.example.com/{path}', platforms: [linux/amd64, linux/arm64/v8] }
mirrors:
  - source: docker.io/library/alpine
    tags: { include: ['3.*', 'v[0-9]*'], exclude: ['*-rc?'], newest: 3 }
  - { source: registry.example.com:5000/team/app, tags: [latest, "1.0"] }
registries:
  docker.io: { endpoints: [mirror.example.com, docker.io], connections: 4, credentials: false }
`;

/** These refuse what they cannot read, with a Failure or a JsonFault and nothing else. */
const REFUSING: readonly Parser[] = [
  { name: 'JSON', samples: [image.manifest.toString(), ENTRY], parse: (text) => readJson(text) },
  {
    name: 'manifests',
    samples: [image.manifest.toString(), makeIndex([image]).manifest.toString()],
    parse: (text) => parseManifest(Buffer.from(text)),
  },
  { name: 'image configs', samples: [image.config.toString()], parse: (text) => parseImageConfig(Buffer.from(text)) },
  {
    name: 'receipts',
    samples: [receipt, serialiseRevocation(0)].map((bytes) => Buffer.from(bytes).toString()),
    parse: (text) => parseReceipt(Buffer.from(text), digest),
  },
  {
    name: 'entries of a tag index',
    samples: [ENTRY],
    parse: (text) => readEntry(Place.ofBytes('read entry', Buffer.from(text)), timesUpTo(Date.now())),
  },
  {
    name: 'queue messages',
    samples: [
      resolveMessage(ORDER, { kind: 'list' }),
      resolveMessage(ORDER, { kind: 'images', images: [{ tag: '1' }, { digest }] }),
      layerMessage(ORDER, IMAGE, blob, { lanes: 8, look: 'everything' }),
      finalizeMessage(ORDER, IMAGE, 'resolver', { code: 'denied', reason: 'no' }),
    ].map(({ message }) => JSON.stringify(message)),
    parse: parseMessage,
  },
  { name: 'mirror.yaml', samples: [CONFIG], parse: (text) => parseConfig(text, 'mirror.yaml') },
  { name: 'host names', samples: ['docker.io', 'registry.example.com:5000', '[::1]:5000'], parse: parseHost },
  { name: 'tag patterns', samples: ['v[0-9]*', '*-rc?', '[!a-f]*'], parse: parseGlob },
  { name: 'digests', samples: [digest], parse: parseDigest },
  { name: 'platforms', samples: ['linux/arm/v7', 'windows(10.0.17763+win32k)/amd64'], parse: parsePlatform },
  {
    name: 'references',
    samples: ['alpine:3.20', `ghcr.io/org/app@${digest}`, '[::1]:5000/a/b:1', 'localhost:5000/app'],
    parse: parseReference,
  },
  { name: 'repositories', samples: ['docker.io/library/alpine', 'localhost:5000/app'], parse: parseRepository },
  { name: 'addresses of S3 archives', samples: ['s3://bucket/prefix', 's3://bucket'], parse: parseS3Url },
  {
    name: 'credentials files',
    samples: [
      JSON.stringify({
        auths: {
          'reg.example.com': { auth: 'Ym9iOnNlY3JldA==' },
          'https://index.docker.io/v1/': { identitytoken: 'x' },
        },
        credHelpers: { 'ecr.example.com': 'ecr-login' },
        credsStore: 'desktop',
      }),
    ],
    parse: (text) => parseDockerConfig(text, 'config.json'),
  },
  {
    name: 'webhook secrets',
    samples: [JSON.stringify({ dockerhub: ['0123456789abcdef'], github: ['0123456789abcdef', 'fedcba9876543210'] })],
    parse: (text) => parseSecrets(text, 'secret'),
  },
  {
    name: 'command lines',
    samples: [
      'sync alpine:3.20 --to a --platform linux/amd64',
      'verify a --repair --json',
      'ls s3://b/p',
      'status a run',
    ],
    parse: (text) => parseCommand(text.split(' ')),
    isOfUser: true,
  },
];

/** These find nothing in what they cannot read, and never throw. */
const LENIENT: readonly Parser[] = [
  {
    name: 'challenges of WWW-Authenticate',
    samples: [
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull"',
      'Negotiate, Basic realm="a \\"b\\" c", charset="UTF-8"',
    ],
    parse: parseChallenges,
  },
  {
    name: 'links',
    samples: ['</v2/a/tags/list?last=b&n=1>; rel="next", <https://a/b>; rel=prev; title="a,b"'],
    parse: parseLinks,
  },
  { name: 'content ranges', samples: ['bytes 0-99/1234', 'bytes */12', 'bytes 5-9/*'], parse: parseContentRange },
  {
    name: 'Retry-After',
    samples: ['120', '1.5', 'Fri, 31 Dec 1999 23:59:59 GMT'],
    parse: (text) => parseRetryAfter(text, 0),
  },
  {
    name: 'error bodies of registries',
    samples: [
      JSON.stringify({ errors: [{ code: 'MANIFEST_UNKNOWN', message: 'manifest unknown', detail: { Tag: 'x' } }] }),
      JSON.stringify({ error: 'invalid_grant', error_description: 'bad' }),
    ],
    parse: (body) => {
      registryErrors(body);
      const circumstances = { operation: 'get manifest', host: 'reg.test', subject: 'manifest', now: 0 } as const;
      mustBePrintable(refusal({ status: 404, headers: { 'retry-after': body }, body }, circumstances).message);
    },
  },
  {
    name: 'answers of token services',
    samples: [JSON.stringify({ token: 'abc', expires_in: 300, issued_at: '2026-01-31T00:00:00Z' })],
    parse: (text) => parseToken(text, 0, 0),
  },
  { name: 'upload journals', samples: ['\n1 5 0123456789abcdef\n\n2 - 0123456789abcdef\n'], parse: parseJournal },
  {
    name: 'webhook deliveries',
    samples: GOOD.map(([sender, document]) => JSON.stringify([sender, document])),
    parse: (text) => {
      for (const [sender] of GOOD) {
        const body = text.slice(text.indexOf(',') + 1, -1);
        const verdict = translate(deliveryOf(sender, body), SECRETS);
        if (verdict.kind !== 'pushed') mustBePrintable(verdict.reason);
      }
    },
  },
  {
    name: 'ECR events',
    samples: [JSON.stringify(ECR)],
    parse: (text) => {
      let event: unknown = text;
      try {
        event = JSON.parse(text);
      } catch {
        // EventBridge sends values; a text is one of them.
      }
      translateEcr(event);
    },
  },
];

function mustBePrintable(message: string): void {
  if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(message)) throw new Error(`control characters in ${JSON.stringify(message)}`);
  if (message.length > 10_000) throw new Error(`a message of ${message.length} characters`);
}

describe('a parser of untrusted text', () => {
  test.for(REFUSING)(
    'returns a value or a printable refusal: $name',
    { timeout: HANG_MS },
    ({ samples, parse, isOfUser }) => {
      for (const sample of samples) parse(sample);
      fc.assert(
        fc.property(hostileTexts(samples), (text) => {
          try {
            parse(text);
          } catch (thrown) {
            if (!(thrown instanceof Failure || thrown instanceof JsonFault)) throw thrown;
            // The caller of readJson makes its message printable. The problems of a configuration are a line each.
            if (thrown instanceof Failure && isOfUser !== true) mustBePrintable(thrown.message.replaceAll('\n  ', ' '));
          }
        }),
        budget(),
      );
    },
  );

  test.for(LENIENT)('never throws: $name', { timeout: HANG_MS }, ({ samples, parse }) => {
    for (const sample of samples) parse(sample);
    fc.assert(
      fc.property(hostileTexts(samples), (text) => {
        parse(text);
      }),
      budget(),
    );
  });
});
