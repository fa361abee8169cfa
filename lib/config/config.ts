import { asFailure, Failure } from '../core/failure.ts';
import { defined } from '../core/defined.ts';
import { formatRepository } from '../oci/reference.ts';
import { CONFIG_VERSION, defaults, definition, mirror } from './definition.ts';
import { destinationOf, SAME_NAME } from './destination.ts';
import type { Config, Mirror, Registry } from './mirrors.ts';
import { ConfigNode } from './node.ts';
import { located, type Located } from './schema.ts';
import { ALL_TAGS, type TagSelection } from './tags.ts';

/** Characters of a configuration; ten thousand mirrors need less. Whoever reads one from elsewhere reads no more bytes. */
export const MAX_CONFIG_BYTES = 1024 * 1024;

/** Lines of a configuration. The YAML library takes long for hundreds of thousands of comments. */
const MAX_LINES = 100_000;

type Document = NonNullable<ReturnType<typeof definition.read>>;
type RawDefaults = NonNullable<Document['defaults']>;
type RawMirror = Document['mirrors'][number]['value'];

/**
 * The configuration that a text is.
 *
 * @param name what errors call the file
 * @throws {Failure} `invalid`, with every problem on a line of its own: `mirror.yaml:7:5: mirrors[0].tag: …`;
 *   `too-large`; `unsupported` for another version
 */
export function parseConfig(text: string, name: string): Config {
  if (text.length > MAX_CONFIG_BYTES) throw tooLarge(name, `${MAX_CONFIG_BYTES} bytes`);
  if (text.split('\n', MAX_LINES + 1).length > MAX_LINES) throw tooLarge(name, `${MAX_LINES} lines`);
  return ConfigNode.read(text, name, (root) => {
    if (!isOfThisVersion(root)) return undefined;
    const document = definition.read(root);
    if (document === undefined) {
      checkWhatIsGood(root);
      return undefined;
    }
    return {
      registries: document.registries ?? new Map<string, Registry>(),
      mirrors: mirrorsFrom(document.mirrors, document.defaults ?? {}),
      ...(document.limits === undefined ? {} : { limits: document.limits }),
      ...(document.defaults?.connections === undefined ? {} : { connections: document.defaults.connections }),
      ...(document.defaults?.foreignHosts === undefined ? {} : { foreignHosts: document.defaults.foreignHosts }),
    };
  });
}

function tooLarge(name: string, limit: string): Failure {
  const detail = `${name} has more than ${limit}`;
  return new Failure({ operation: 'read configuration', side: 'input', code: 'too-large', detail });
}

/** Another version may have changed everything else: nothing more is said about such a file. */
function isOfThisVersion(root: ConfigNode): boolean {
  const version = valueAt(root, 'version');
  if (version === undefined || version.text === String(CONFIG_VERSION) || !/^\d+$/.test(version.text)) return true;
  version.problem(`is ${version.text}, and this software knows only ${CONFIG_VERSION}`);
  return false;
}

/** One broken mirror keeps no other from being checked: all that is wrong with a file is told at once. */
function checkWhatIsGood(root: ConfigNode): void {
  const node = valueAt(root, 'defaults');
  const common = node === undefined ? {} : defaults.read(node);
  const mirrors = valueAt(root, 'mirrors')?.items() ?? [];
  if (common !== undefined)
    mirrorsFrom(
      mirrors.flatMap((item) => located(mirror).read(item) ?? []),
      common,
    );
}

function valueAt(root: ConfigNode, key: string): ConfigNode | undefined {
  return root.entries().find(({ name }) => name === key)?.value;
}

function mirrorsFrom(raw: readonly Located<RawMirror>[], common: RawDefaults): readonly Mirror[] {
  const mirrors = raw.flatMap(({ value, node }) => mirrorOf(value, node, common) ?? []);
  refuseTwice(mirrors);
  return mirrors.map(({ value }) => value);
}

function mirrorOf(raw: RawMirror, node: ConfigNode, common: RawDefaults): Located<Mirror> | undefined {
  const source = raw.source.value;
  const tags = raw.tags ?? common.tags;
  // All tags of a repository can be thousands: that is said, and not what one gets for forgetting a line.
  if (tags === undefined) node.problem('tags is missing, here and in defaults; write tags: all if all are meant');
  const repository = repositoryOf(raw, common);
  if (tags === undefined || repository === undefined) return undefined;
  const platforms = raw.platforms ?? common.platforms ?? 'all';
  const foreignLayers = (raw.foreignLayers ?? common.foreignLayers) === 'skip' ? ('skip' as const) : undefined;
  const strictMediaTypes = (raw.strictMediaTypes ?? common.strictMediaTypes) === true ? (true as const) : undefined;
  const value = defined({
    source: formatRepository(source),
    repository,
    tags: selectionOf(tags),
    platforms,
    foreignLayers,
    strictMediaTypes,
  });
  return { value, node: raw.source.node };
}

function repositoryOf({ source, destination }: RawMirror, common: RawDefaults): string | undefined {
  const template = destination ?? common.destination;
  try {
    return destinationOf(template?.value ?? SAME_NAME, source.value);
  } catch (error) {
    (template ?? source).node.problem(asFailure(error, 'fill in destination', 'input').message);
    return undefined;
  }
}

function selectionOf(tags: NonNullable<RawMirror['tags']>): TagSelection {
  if (tags === 'all') return ALL_TAGS;
  if (isList(tags)) return { kind: 'listed', tags: [...new Set(tags)] };
  const { include = ALL_TAGS.include, exclude = [], newest } = tags;
  return { kind: 'filtered', include, exclude, ...(newest === undefined ? {} : { newest }) };
}

function isList(value: NonNullable<RawMirror['tags']>): value is readonly string[] {
  return Array.isArray(value);
}

/** Two mirrors into one repository would move each other's tags to and fro. */
function refuseTwice(mirrors: readonly Located<Mirror>[]): void {
  const first = new Map<string, Located<Mirror>>();
  for (const mirror of mirrors) {
    const { repository, source } = mirror.value;
    const other = first.get(repository);
    if (other === undefined) first.set(repository, mirror);
    else if (other.value.source === source)
      mirror.node.problem(`${source} is mirrored by ${other.node.path} already; put its tags together there`);
    else
      mirror.node.problem(
        `${source} and ${other.value.source} (${other.node.path}) would both be ${repository}; give one of them another destination`,
      );
  }
}
