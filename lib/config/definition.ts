/** The settings of `mirror.yaml`: read by the validator (`config.ts`) and by `scripts/config-schema.ts`. */
import * as z from 'zod/mini';
import { invalid } from '../core/failure.ts';
import { parsePlatform } from '../oci/platform.ts';
import { isTag, parseRepository } from '../oci/reference.ts';
import { show } from '../oci/show.ts';
import { annotated, bytes, described, integer, list, mapping, number, setting, text } from './fields.ts';
import { parseGlob } from '../oci/glob.ts';
import { policy, trustedRoot } from './policy.ts';
import { parseEndpoint, parseForeignHost, parseHost } from './hosts.ts';

export const CONFIG_VERSION = 1;

/** Connections to one registry, and blobs fetched from it concurrently; some registries treat more as an attack. */
const MAX_CONNECTIONS = 64;

const MAX_REGISTRIES = 1_000;

const flag = z.boolean('true or false');

const host = text('a registry host, such as docker.io or localhost:5000', parseHost, {
  examples: ['docker.io', 'ghcr.io', 'registry.example.com:5000'],
});

const endpoint = z.union(
  [
    endpointText(),
    mapping({
      host: described(endpointText(), 'A host, or http(s)://host.'),
      resolve: setting(
        flag,
        'false: this endpoint serves manifests by digest and blobs, and the other endpoints decide what a tag means and which tags exist. Default: true.',
      ),
    }),
  ],
  'an endpoint: a host, or http(s)://host, or a mapping',
);

const endpoints = list('endpoints', endpoint, { min: 1, max: 16 }).check(
  z.refine(
    (all) => !all.every((each) => typeof each !== 'string' && each.resolve === false),
    'has no endpoint that resolves tags; add the registry itself, or remove resolve: false',
  ),
);

const registry = mapping({
  endpoints: setting(
    endpoints,
    'Where the registry is asked, in this order: its mirrors first, usually the registry itself last. At least one of them resolves tags. Default: the registry itself.',
  ),
  insecure: setting(
    flag,
    'Accepts any certificate, and plain HTTP from a host without TLS. Loopback does not need it.',
  ),
  privateAddresses: setting(
    flag,
    'Lets redirects, token services and foreign layers of this registry lead to private networks, although the registry itself has a public address: for split DNS and interface endpoints. Default: only a registry in a private network may do so.',
  ),
  tokenService: setting(
    host,
    'The host of the token service that gets this registry’s credentials, where it is neither the registry’s host nor one that is known for it.',
  ),
  connections: setting(
    integer(1, MAX_CONNECTIONS),
    'Connections to this registry, and layers fetched from it concurrently.',
  ),
  credentials: setting(
    z.union(
      [z.literal(false), text('the key of an entry in the credentials', (key) => key, { minLength: 1 })],
      'false, or the key of an entry in the credentials',
    ),
    'The entry of the credentials (Docker’s config.json) to use instead of the one for this host; false: none, even where there is one.',
  ),
});

const registries = annotated(
  z
    .record(
      annotated(z.string(), { examples: ['docker.io', 'ghcr.io', 'registry.example.com:5000'] }),
      registry,
      'a mapping of registry hosts',
    )
    .check(hostsAreValid()),
  { maxProperties: MAX_REGISTRIES },
);

/** A tag often looks like a number, and may be `true`, so the schema for editors accepts these as well. */
const UNQUOTED = ['string', 'number', 'boolean'];

const pattern = text('a pattern of tags, such as 3.* or v[0-9]*', (glob) => (parseGlob(glob), glob), {
  type: UNQUOTED,
  minLength: 1,
  maxLength: 128,
});

const tag = text('a tag', parseTag, { type: UNQUOTED, pattern: '^\\w[\\w.-]{0,127}$' });

const filter = mapping({
  include: setting(
    list('patterns', pattern, { min: 1, max: 100 }),
    'Tags that match one of these: * is any number of characters, ? is one, [0-9] one of these, [!0-9] one of the others. Default: all.',
  ),
  exclude: setting(list('patterns', pattern, { min: 1, max: 100 }), 'Tags that match one of these are left out.'),
  newest: setting(
    integer(1, 10_000),
    'Only this number of versions, the newest. Tags that include names in full are mirrored as well.',
  ),
});

const foreignHost = text('a host, such as mcr.microsoft.com or *.example.com', parseForeignHost, {
  examples: ['mcr.microsoft.com', '*.example.com'],
});

/** The settings of a mirror that `defaults` may have as well. */
const common = {
  destination: setting(
    text('a repository of the archive', (template) => template),
    'The repository in the archive, host first; {host}, {path} and {name} are replaced by those of the source. Default: {host}/{path}.',
  ),
  tags: setting(
    z.union(
      [z.literal('all'), list('tags', tag, { min: 1, max: 10_000 }), filter],
      'all, or a list of tags, or a mapping',
    ),
    'Which tags: all, a list of them, or a filter over those that upstream has.',
  ),
  platforms: setting(
    z.union(
      [
        z.literal('all'),
        list('platforms', text('a platform, such as linux/amd64', parsePlatform), { min: 1, max: 32 }),
      ],
      'all, or a list of platforms',
    ),
    'Which images of a multi-platform image: all, or a list of OS/ARCH[/VARIANT]. The index keeps its digest.',
  ),
  foreignLayers: setting(
    z.enum(['fetch', 'skip'], 'fetch, or skip'),
    'Layers that may not be distributed (base layers of Windows images): fetch, from their own URLs or else the registry; skip leaves them out. Default: fetch.',
  ),
  strictMediaTypes: setting(
    flag,
    'true refuses an image with a layer whose bytes are compressed in another way than its media type declares. Default: such an image is mirrored, with a warning.',
  ),
  policy: setting(policy, 'Conditions for the release of images. Each key of a mirror replaces the one of defaults.'),
};

export const mirror = mapping({
  source: described(
    text('a repository, such as docker.io/library/alpine', parseRepository),
    'The repository to mirror, without tag or digest.',
  ),
  ...common,
});

export const defaults = mapping({
  ...common,
  connections: setting(integer(1, MAX_CONNECTIONS), 'Connections to each registry without a setting of its own.'),
  foreignHosts: setting(
    list('hosts', foreignHost, { min: 1, max: 100 }),
    'Hosts from which foreign layers are fetched; *.example.com is every host below it. Default: the hosts of Microsoft that Windows images name.',
  ),
});

const limits = mapping({
  imageBytes: setting(bytes(), 'Bytes of an image, as its manifests declare them, such as 20GB. A larger image fails.'),
  runImages: setting(
    integer(1, 1_000_000),
    'Images that a run asks for; those that follow fail. On AWS: of each repository.',
  ),
  runBytes: setting(
    bytes(),
    'Bytes that a run fetches, such as 500GB; an image that needs more fails. On AWS: for each message of up to 100 images.',
  ),
});

export const definition = mapping({
  version: described(number(CONFIG_VERSION), 'The version of this file’s format.'),
  defaults: setting(defaults, 'Settings of every mirror, and of every registry, that has none of its own.'),
  registries: setting(registries, 'Settings of registries, by host.'),
  limits: setting(limits, 'Limits of the space that registries may fill. Default: no limits.'),
  trustedRoot: setting(
    trustedRoot,
    'A file beside this one with the trusted root of Sigstore (trusted_root.json), for signers with an identity.',
  ),
  mirrors: described(
    list('mirrors', mirror, { min: 1, max: 10_000 }),
    'The repositories to mirror, one entry for each destination. Two entries must not have the same destination.',
  ),
});

function endpointText(): z.ZodMiniType<string> {
  return text('an endpoint: a host, or http(s)://host', parseEndpoint);
}

function parseTag(name: string): string {
  if (isTag(name)) return name;
  throw invalid(
    `parse tag ${show(name)}`,
    /[*?[]/.test(name)
      ? 'a pattern in a list of tags, which contains only exact tags; patterns go under tags: include'
      : 'not a tag (expected 1 to 128 letters, digits, "_", "." and "-", the first of them not "." or "-")',
  );
}

/** Checks the hosts of `registries` even where their settings are invalid, so that all problems are reported at once. */
function hostsAreValid(): z.core.$ZodCheck<object> {
  return z.check<object>(
    ({ value, issues }) => {
      const hosts = Object.keys(value);
      if (hosts.length > MAX_REGISTRIES)
        issues.push({ code: 'too_big', origin: 'array', maximum: MAX_REGISTRIES, input: hosts });
      for (const key of hosts.slice(0, MAX_REGISTRIES)) {
        const { error } = z.safeParse(host, key, { reportInput: true });
        if (error !== undefined)
          issues.push({ code: 'invalid_key', origin: 'record', issues: error.issues, input: key, path: [key] });
      }
    },
    { when: ({ value }) => typeof value === 'object' },
  );
}
