/** What may stand in `mirror.yaml`: read by the validator (`config.ts`) and by `scripts/config-schema.ts`. */
import { invalid } from '../core/failure.ts';
import { parsePlatform } from '../oci/platform.ts';
import { isTag, parseRepository } from '../oci/reference.ts';
import { show } from '../oci/show.ts';
import { parseGlob } from './glob.ts';
import {
  bytes,
  checked,
  described,
  either,
  flag,
  integer,
  list,
  literal,
  located,
  map,
  object,
  optional,
  text,
} from './schema.ts';

export const CONFIG_VERSION = 1;

/** Connections and blobs on their way at once to one registry; more are taken for an attack by some. */
const MAX_CONNECTIONS = 64;

const host = text('a registry host, such as docker.io or localhost:5000', {
  parse: parseHost,
  json: { examples: ['docker.io', 'ghcr.io', 'registry.example.com:5000'] },
});

const endpointHost = text('an endpoint: a host, or http(s)://host', { parse: parseEndpoint });

const endpoint = either(
  endpointHost,
  object({
    host: described(endpointHost, 'A host, or http(s)://host.'),
    resolve: optional(
      described(
        flag(),
        'false: this endpoint serves manifests by digest and blobs, and the other endpoints decide what a tag means and which tags exist. Without this: true.',
      ),
    ),
  }),
);

const endpoints = checked(list('endpoints', endpoint, { min: 1, max: 16 }), (all) =>
  all.every((each) => typeof each !== 'string' && each.resolve === false)
    ? 'has no endpoint that resolves tags; add the registry itself, or remove resolve: false'
    : undefined,
);

const registry = object({
  endpoints: optional(
    described(
      endpoints,
      'Where the registry is asked, in this order: mirrors of it first, usually the registry itself last. At least one of them resolves tags. Without this: the registry itself.',
    ),
  ),
  insecure: optional(
    described(flag(), 'Takes any certificate, and plain HTTP where there is no TLS. Loopback needs no such setting.'),
  ),
  privateAddresses: optional(
    described(
      flag(),
      'Lets redirects, token services and foreign layers of this registry lead to private networks, although the registry itself has a public address: for split DNS and interface endpoints. Without this: only a registry in a private network may lead there.',
    ),
  ),
  tokenService: optional(
    described(
      host,
      'The host of the token service that gets this registry’s credentials, where that is another host than the registry’s and none that is known for it.',
    ),
  ),
  connections: optional(
    described(integer(1, MAX_CONNECTIONS), 'Connections to this registry, and layers fetched from it at once.'),
  ),
  credentials: optional(
    described(
      either(
        literal(false),
        text('the key of an entry in the credentials', { parse: (key) => key, json: { minLength: 1 } }),
      ),
      'The entry of the credentials (Docker’s config.json) to use instead of the one for this host; false: none, even where there is one.',
    ),
  ),
});

const pattern = text('a pattern of tags, such as 3.* or v[0-9]*', {
  parse: (glob) => (parseGlob(glob), glob),
  looksNumeric: true,
  json: { minLength: 1, maxLength: 128 },
});

const tag = text('a tag', { parse: parseTag, looksNumeric: true, json: { pattern: '^\\w[\\w.-]{0,127}$' } });

const filter = object({
  include: optional(
    described(
      list('patterns', pattern, { min: 1, max: 100 }),
      'Tags that match one of these: * is any number of characters, ? is one, [0-9] one of these, [!0-9] one of the others. Without this: all.',
    ),
  ),
  exclude: optional(
    described(list('patterns', pattern, { min: 1, max: 100 }), 'Tags that match one of these are left out.'),
  ),
  newest: optional(
    described(
      integer(1, 10_000),
      'Of the tags that are versions only so many, the newest. Tags that include names in full are taken besides.',
    ),
  ),
});

const tags = described(
  either(literal('all'), list('tags', tag, { min: 1, max: 10_000 }), filter),
  'Which tags: all, a list of them, or a filter over those that upstream has.',
);

const platforms = described(
  either(
    literal('all'),
    list('platforms', text('a platform, such as linux/amd64', { parse: parsePlatform }), { min: 1, max: 32 }),
  ),
  'Which images of a multi-platform image: all, or a list of OS/ARCH[/VARIANT]. The index keeps its digest.',
);

const foreignLayers = described(
  either(literal('fetch'), literal('skip')),
  'Layers that may not be distributed (base layers of Windows images): fetch, from their own URLs or else the registry; skip leaves them out. Without this: fetch.',
);

const strictMediaTypes = described(
  flag(),
  'true refuses an image with a layer whose bytes are compressed in another way than its media type declares. Without this such an image is mirrored, with a warning.',
);

const foreignHost = text('a host, such as mcr.microsoft.com or *.example.com', {
  parse: parseForeignHost,
  json: { examples: ['mcr.microsoft.com', '*.example.com'] },
});

const destination = described(
  located(text('a repository of the archive', { parse: (template) => template })),
  'The repository in the archive, host first; {host}, {path} and {name} stand for the source’s. Without this: {host}/{path}.',
);

export const mirror = object({
  source: described(
    located(text('a repository, such as docker.io/library/alpine', { parse: parseRepository })),
    'The repository to mirror, without tag or digest.',
  ),
  destination: optional(destination),
  tags: optional(tags),
  platforms: optional(platforms),
  foreignLayers: optional(foreignLayers),
  strictMediaTypes: optional(strictMediaTypes),
});

export const defaults = object({
  destination: optional(destination),
  tags: optional(tags),
  platforms: optional(platforms),
  foreignLayers: optional(foreignLayers),
  strictMediaTypes: optional(strictMediaTypes),
  connections: optional(described(integer(1, MAX_CONNECTIONS), 'Connections to each registry that says nothing else.')),
  foreignHosts: optional(
    described(
      list('hosts', foreignHost, { min: 1, max: 100 }),
      'Hosts from which foreign layers are fetched; *.example.com is every host below it. Without this: the hosts of Microsoft that Windows images name.',
    ),
  ),
});

const limits = object({
  imageBytes: optional(
    described(bytes(), 'Bytes of an image, as its manifests declare them, such as 20GB. A larger one fails.'),
  ),
  runImages: optional(
    described(integer(1, 1_000_000), 'Images that a run asks for; those that follow fail. On AWS: of each repository.'),
  ),
  runBytes: optional(
    described(
      bytes(),
      'Bytes that a run fetches, such as 500GB; an image that needs more fails. On AWS: for each message of up to 100 images.',
    ),
  ),
});

export const definition = object({
  version: described(literal(CONFIG_VERSION), 'The version of this file’s format.'),
  defaults: optional(
    described(defaults, 'What holds for every mirror, and every registry, that does not say otherwise.'),
  ),
  registries: optional(described(map(host, registry, 1_000), 'Settings of registries, by host.')),
  limits: optional(
    described(limits, 'What registries may fill the archive with. Without a limit: as much as they have.'),
  ),
  mirrors: described(
    list('mirrors', located(mirror), { min: 1, max: 10_000 }),
    'What is mirrored. Each repository goes to one place, and each place has one source.',
  ),
});

function parseTag(name: string): string {
  if (isTag(name)) return name;
  throw invalid(
    `parse tag ${show(name)}`,
    /[*?[]/.test(name)
      ? 'it is a pattern, and in a list of tags each is taken by its name; patterns go under tags: include'
      : 'it is not a tag: 1 to 128 letters, digits, "_", "." and "-", the first of them not "." or "-"',
  );
}

/** A host, with or without a port, or `*.` and a domain. */
export function parseForeignHost(pattern: string): string {
  if (/^(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?$/i.test(pattern)) return pattern.toLowerCase();
  throw invalid(
    `parse host ${show(pattern)}`,
    'write a host such as mcr.microsoft.com, or *.example.com for all below it',
  );
}

/** A host as references have it, so that a setting for it is found by them. */
export function parseHost(name: string): string {
  const operation = `parse host ${show(name)}`;
  const { host: parsed } = parseRepository(`${name}/any/repository`);
  if (parsed === name) return name;
  throw invalid(
    operation,
    parsed === 'docker.io' && !name.includes('docker')
      ? 'it is not a registry host: with a dot, a port, or localhost'
      : `write ${parsed}, as it is called in references`,
  );
}

/** What the registry client takes: a host, or an origin whose scheme then decides. */
function parseEndpoint(name: string): string {
  const operation = `parse endpoint ${show(name)}`;
  const [, scheme, rest = ''] = /^(https?:\/\/)(.*)$/.exec(name) ?? [];
  if (scheme === undefined && name.includes('://'))
    throw invalid(operation, 'its scheme is neither http:// nor https://');
  const bare = scheme === undefined ? name : rest;
  if (/[/?#@\s]/.test(bare)) throw invalid(operation, 'it is a host, or http(s)://host, and nothing behind it');
  // The network's name for Docker Hub is as good as its own.
  if (bare !== 'registry-1.docker.io') parseHost(bare);
  return name;
}
