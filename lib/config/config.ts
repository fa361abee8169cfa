import * as z from 'zod/mini';
import { asFailure, Failure, invalid } from '../core/failure.ts';
import { defined } from '../core/defined.ts';
import { own } from '../core/own.ts';
import { formatPath, type Path, problemsOf } from '../oci/problems.ts';
import { formatRepository } from '../oci/reference.ts';
import { CONFIG_VERSION, defaults, definition, mirror } from './definition.ts';
import { policyOf } from './policy.ts';
import { destinationOf, SAME_NAME } from './destination.ts';
import type { Config, Mirror } from './mirrors.ts';
import { ALL_TAGS, type TagSelection } from './tags.ts';
import { hasMoreTokens, YamlDocument } from './yaml.ts';

/** The maximum size of a configuration, in characters and in bytes; ten thousand mirrors need less. */
export const MAX_CONFIG_BYTES = 1024 * 1024;

/**
 * The maximum number of lines of a configuration; the YAML library is slow with hundreds of thousands of
 * comments.
 */
const MAX_LINES = 100_000;

/** The YAML library needs up to half a kilobyte for each token. Ten thousand mirrors with a list of tags have 180,000. */
const MAX_TOKENS = 320_000;

type RawDefaults = z.output<typeof defaults>;
type RawMirror = z.output<typeof mirror>;

/** A mirror, and the path of its source in the file. */
interface Placed {
  readonly mirror: Mirror;
  readonly path: Path;
}

/**
 * Parses a configuration.
 *
 * @param name the file's name in errors
 * @throws {Failure} `invalid` for a file in UTF-16, or with every problem on a line of its own: `mirror.yaml:7:5: mirrors[0].tag: …`;
 *   `too-large`; `unsupported` for another version
 */
export function parseConfig(text: string, name: string): Config {
  if (text.length > MAX_CONFIG_BYTES) throw tooLarge(name, `${MAX_CONFIG_BYTES} bytes`);
  if (text.split('\n', MAX_LINES + 1).length > MAX_LINES) throw tooLarge(name, `${MAX_LINES} lines`);
  if (hasMoreTokens(text, MAX_TOKENS)) throw tooLarge(name, `${MAX_TOKENS} words and indicators`);
  if (text.includes('\0'))
    throw invalid('read configuration', `${name} has zero bytes, as a file in UTF-16 has; save it as UTF-8`);
  const file = new YamlDocument(text, name);
  refuseOtherVersion(file);
  const { data, error } = z.safeParse(definition, file.value, { reportInput: true });
  for (const problem of problemsOf(error?.issues ?? [], ({ path }) => file.show(path))) file.report(problem);
  const mirrors = mirrorsFrom(file, data?.mirrors ?? validMirrors(file), data?.defaults ?? validDefaults(file));
  file.throwIfAny();
  if (error !== undefined) throw error;
  const { registries = {}, limits, trustedRoot, defaults: { connections, foreignHosts } = {} } = data;
  const common = { limits, trustedRoot, connections, foreignHosts };
  return defined({ registries: new Map(Object.entries(registries)), mirrors, ...common });
}

function tooLarge(name: string, limit: string): Failure {
  const detail = `${name} has more than ${limit}`;
  return new Failure({ operation: 'read configuration', side: 'input', code: 'too-large', detail });
}

/** Another version may have changed everything else, so only the version is reported. */
function refuseOtherVersion(file: YamlDocument): void {
  const version = fieldOf(file, 'version');
  if (typeof version !== 'string' || version === String(CONFIG_VERSION) || !/^\d+$/.test(version)) return;
  file.report({ path: ['version'], detail: `is ${version}, and this release knows only ${CONFIG_VERSION}` });
  file.throwIfAny();
}

function fieldOf({ value }: YamlDocument, key: string): unknown {
  return typeof value === 'object' && value !== null ? own(value as Record<string, unknown>, key) : undefined;
}

/** The defaults of an invalid file; undefined if the defaults are invalid. */
function validDefaults(file: YamlDocument): RawDefaults | undefined {
  return z.safeParse(defaults, fieldOf(file, 'defaults') ?? {}).data;
}

/** The valid mirrors of an invalid file, so that an invalid mirror does not hide problems of the others. */
function validMirrors(file: YamlDocument): readonly (RawMirror | undefined)[] {
  const mirrors = fieldOf(file, 'mirrors');
  return Array.isArray(mirrors) ? mirrors.map((each) => z.safeParse(mirror, each).data) : [];
}

function mirrorsFrom(
  file: YamlDocument,
  raw: readonly (RawMirror | undefined)[],
  common: RawDefaults | undefined,
): readonly Mirror[] {
  if (common === undefined) return [];
  const placed = raw.flatMap((each, index) =>
    each === undefined ? [] : (mirrorOf(file, each, ['mirrors', index], common) ?? []),
  );
  refuseTwice(file, placed);
  return placed.map(({ mirror }) => mirror);
}

function mirrorOf(file: YamlDocument, raw: RawMirror, path: Path, common: RawDefaults): Placed | undefined {
  const tags = raw.tags ?? common.tags;
  // A repository can have thousands of tags, so all of them must be asked for.
  if (tags === undefined)
    file.report({ path, detail: 'tags is missing, here and in defaults; write tags: all if all are meant' });
  const repository = repositoryOf(file, raw, path, common);
  if (tags === undefined || repository === undefined) return undefined;
  const foreignLayers = (raw.foreignLayers ?? common.foreignLayers) === 'skip' ? ('skip' as const) : undefined;
  const strictMediaTypes = (raw.strictMediaTypes ?? common.strictMediaTypes) === true ? (true as const) : undefined;
  const mirror = defined({
    source: formatRepository(raw.source),
    repository,
    tags: selectionOf(tags),
    platforms: raw.platforms ?? common.platforms ?? 'all',
    foreignLayers,
    strictMediaTypes,
    policy: checkedPolicy(file, raw, path, common),
  });
  return { mirror, path: [...path, 'source'] };
}

function checkedPolicy(
  file: YamlDocument,
  raw: RawMirror,
  path: Path,
  common: RawDefaults,
): Mirror['policy'] | undefined {
  const policy = policyOf(raw.policy, common.policy);
  if (policy === undefined || policy.verify === 'off') return policy;
  const place = raw.policy?.verify === undefined ? ['defaults', 'policy'] : [...path, 'policy'];
  if (policy.signers.length === 0)
    file.report({ path: place, detail: `verify: ${policy.verify} needs signers, here or in defaults` });
  else if (policy.signers.some((each) => 'identity' in each) && fieldOf(file, 'trustedRoot') === undefined)
    file.report({ path: place, detail: 'a signer with an identity needs trustedRoot: the file trusted_root.json' });
  return policy;
}

function repositoryOf(file: YamlDocument, raw: RawMirror, path: Path, common: RawDefaults): string | undefined {
  const template = raw.destination ?? common.destination;
  try {
    return destinationOf(template ?? SAME_NAME, raw.source);
  } catch (error) {
    const { message } = asFailure(error, 'fill in destination', 'input');
    const ofMirror = [...path, raw.destination === undefined ? 'source' : 'destination'];
    const isDefault = raw.destination === undefined && template !== undefined;
    file.report({ path: isDefault ? ['defaults', 'destination'] : ofMirror, detail: message });
    return undefined;
  }
}

function selectionOf(tags: NonNullable<RawMirror['tags']>): TagSelection {
  if (tags === 'all') return ALL_TAGS;
  if (Array.isArray(tags)) return { kind: 'listed', tags: [...new Set(tags)] };
  return { ...ALL_TAGS, ...tags };
}

/** Two mirrors into one repository would overwrite each other's tags in turns. */
function refuseTwice(file: YamlDocument, mirrors: readonly Placed[]): void {
  const first = new Map<string, Placed>();
  for (const placed of mirrors) {
    const { repository, source } = placed.mirror;
    const other = first.get(repository);
    if (other === undefined) {
      first.set(repository, placed);
      continue;
    }
    const there = formatPath(other.path);
    const detail =
      other.mirror.source === source
        ? `${source} is mirrored by ${there} already; add these tags there`
        : `${source} and ${other.mirror.source} (${there}) would both be ${repository}; give one of them another destination`;
    file.report({ path: placed.path, detail });
  }
}
