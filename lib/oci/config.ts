import { Failure } from '../core/failure.ts';
import { beginsWithObject, isRecord, JsonFault, readJson } from '../core/json.ts';
import type { Digest } from './digest.ts';
import { Place } from './document.ts';
import { MANIFEST_LIMITS } from './limits.ts';
import { readPlatform, type Platform } from './platform.ts';
import { printable } from './show.ts';

export interface ImageConfig {
  /** The platform in the config. Older configs may have none, because both parts were optional. */
  readonly platform: Platform | undefined;
  /** Digests of the uncompressed layers, base first; undefined where the config claims none. */
  readonly diffIds: readonly Digest[] | undefined;
}

const OPERATION = 'parse image config';

const NO_CLAIM: ImageConfig = { platform: undefined, diffIds: undefined };

/**
 * Parses the parts of an image config that a mirror can check (OCI image spec, "Image Configuration"). Older tools use
 * its media type for artifacts, so a config without a rootfs makes no claim about layers. Valid diffIDs are read even
 * if other parts of the config are invalid, so that an invalid part cannot circumvent the proof.
 *
 * @throws {Failure} `invalid`, `unsupported`, `too-large` or `too-deep` where the config makes a claim that cannot be
 *   read, or one that other readers read differently
 */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  // As in Go, bytes that are not UTF-8 become U+FFFD. A byte order mark is skipped, as other readers skip it.
  const text = new TextDecoder('utf-8').decode(bytes);
  let value: unknown;
  try {
    value = readJson(text);
  } catch (fault) {
    if (!(fault instanceof JsonFault)) throw fault;
    const root = new Place(OPERATION, '', value);
    if (!fault.syntax) throw root.fail(printable(fault.message), fault.code);
    if (beginsWithObject(text)) throw root.fail('has something behind its JSON object, which other readers ignore');
    return NO_CLAIM;
  }
  if (!isRecord(value)) return NO_CLAIM;
  const config = new Place(OPERATION, '', value);
  refuseFoldedSettings(config);
  const rootfs = config.at('rootfs');
  return { platform: platformOf(config), diffIds: rootfs.given ? readRootfs(rootfs) : undefined };
}

/** The fields of a config that engines, `history` or the pages of `serve` read, apart from those of the proof. */
const FIELDS = ['config', 'created', 'author', 'history'];
const SETTINGS = [
  ...['User', 'Env', 'Entrypoint', 'Cmd', 'WorkingDir', 'Labels', 'ExposedPorts', 'Volumes', 'StopSignal'],
  ...['Healthcheck', 'OnBuild', 'Shell', 'ArgsEscaped'],
];
const STEP = ['created', 'created_by', 'comment', 'author', 'empty_layer'];

/**
 * Refuses a config with two keys for one field: readers that ignore case would start another image. Any other fault of
 * these fields is accepted, because they make no claim about layers.
 */
export function refuseFoldedSettings(config: Place): void {
  config.refuseFolded(FIELDS);
  config.entry('config').refuseFolded(SETTINGS);
  const history = config.entry('history');
  if (history.isList) for (const step of history.list(Infinity)) step.refuseFolded(STEP);
}

function readRootfs(rootfs: Place): readonly Digest[] | undefined {
  try {
    const diffIds = rootfs.at('diff_ids');
    const type = rootfs.at('type').optionalText();
    // Go writes `{"type":"","diff_ids":null}` for an image config whose rootfs was never set.
    if (type === undefined && !diffIds.given) return undefined;
    // "Implementations MUST generate an error if they encounter an unknown value."
    if (type !== undefined && type !== 'layers')
      throw rootfs.at('type').fail('must be "layers"; no other kind of root file system is known', 'unsupported');
    return diffIds.optionalList(MANIFEST_LIMITS.layers)?.map((diffId) => diffId.digest()) ?? [];
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const { code, detail } = error;
    const remedy = 'it has the config type of an image, but is not an image';
    throw new Failure({ operation: OPERATION, side: 'input', code, detail: `${detail}; ${remedy}`, cause: error });
  }
}

/**
 * A platform that cannot be read counts as missing. A platform that is given twice, in different letter case, is
 * refused.
 */
function platformOf(config: Place): Platform | undefined {
  const platform = config.inAnyCase(['os', 'architecture', 'variant', 'os.version', 'os.features']);
  try {
    return readPlatform(platform);
  } catch (error) {
    if (error instanceof Failure) return undefined;
    throw error;
  }
}
