import { Failure } from '../core/failure.ts';
import { defined } from '../core/defined.ts';
import { type Descriptor, readDescriptor, readDescriptorAs } from './descriptor.ts';
import { Place } from './document.ts';
import { MANIFEST_LIMITS } from './limits.ts';
import { essence, manifestKind, MEDIA_TYPES, type ManifestKind } from './mediatype.ts';
import { readPayload, readSchema1, type Schema1Manifest } from './schema1.ts';
import { show } from './show.ts';

export { MANIFEST_LIMITS, type Schema1Manifest };

export type Manifest = ImageManifest | IndexManifest | ArtifactManifest | Schema1Manifest;

interface Common {
  readonly mediaType: string;
  /** The manifest that this one refers to, such as the image of a signature. */
  readonly subject?: Descriptor;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Docker schema 2 and OCI image manifests. */
export interface ImageManifest extends Common {
  readonly kind: 'image';
  readonly config: Descriptor;
  /** Base first. */
  readonly layers: readonly Descriptor[];
}

/** Docker manifest lists and OCI image indexes. */
export interface IndexManifest extends Common {
  readonly kind: 'index';
  readonly manifests: readonly Descriptor[];
}

/** OCI artifact manifests. */
export interface ArtifactManifest extends Common {
  readonly kind: 'artifact';
  readonly blobs: readonly Descriptor[];
}

/** The fields that identify the kind of a manifest that has no media type. */
const SHAPES: readonly (readonly [field: string, kind: ManifestKind])[] = [
  ['manifests', 'index'],
  ['layers', 'image'],
  ['config', 'image'],
  ['blobs', 'artifact'],
  ['fsLayers', 'schema1'],
];

/** Generic content types of servers that do not know manifests; they declare no kind. */
const UNSPECIFIC: ReadonlySet<string> = new Set([
  '',
  'application/json',
  'application/octet-stream',
  'binary/octet-stream',
  'text/plain',
]);

/** The declaration of a media type: the Content-Type of a registry, or the descriptor in an index. */
export type DeclaredBy = 'registry' | 'index';

/**
 * Parses a manifest. The registry's declaration, the manifest's own `mediaType` and its shape decide its kind, and must
 * not contradict each other: if one reader treats a document as an image, and another as an index, one digest has two
 * meanings (CVE-2021-41190; OCI image spec, "Image Manifest", `mediaType`). The descriptors of an index may have the
 * type of another vendor, because some tools convert a manifest and not its descriptor.
 *
 * @param declared the Content-Type, or the media type of the descriptor that led here
 * @throws {Failure} `invalid`, `too-large`, `too-deep`, `not-as-declared` or `unsupported`
 */
export function parseManifest(bytes: Uint8Array, declared = '', by: DeclaredBy = 'registry'): Manifest {
  const operation = 'parse manifest';
  if (bytes.length > MANIFEST_LIMITS.bytes) {
    const detail = `expected at most ${MANIFEST_LIMITS.bytes} bytes, got ${bytes.length}`;
    throw new Failure({ operation, side: 'input', code: 'too-large', detail });
  }
  const root = Place.ofContent(operation, bytes);
  const said = essence(declared);
  const { kind, mediaType } = tellApart(root, UNSPECIFIC.has(said) ? undefined : said, by);
  if (kind === 'schema1') return parseSchema1(root, bytes, mediaType);
  checkSchemaVersion(root, kind);
  const common = readCommon(root, mediaType);
  switch (kind) {
    case 'image':
      return {
        kind,
        ...common,
        config: readConfig(root.at('config'), mediaType),
        layers: root.at('layers').list(MANIFEST_LIMITS.layers).map(readDescriptor),
      };
    case 'index':
      return { kind, ...common, manifests: root.at('manifests').list(MANIFEST_LIMITS.children).map(readDescriptor) };
    case 'artifact':
      return {
        kind,
        ...common,
        blobs: root.at('blobs').optionalList(MANIFEST_LIMITS.layers)?.map(readDescriptor) ?? [],
      };
  }
}

/** As in moby, the config's descriptor in a Docker manifest may have no media type. */
function readConfig(config: Place, mediaType: string): Descriptor {
  const isUnnamed = mediaType === MEDIA_TYPES.dockerManifest && config.at('mediaType').optionalText() === undefined;
  return isUnnamed ? readDescriptorAs(config, MEDIA_TYPES.dockerConfig) : readDescriptor(config);
}

function parseSchema1(root: Place, bytes: Uint8Array, declared: string): Schema1Manifest {
  const payload = readPayload(root, bytes);
  if (payload === bytes) {
    if (declared === MEDIA_TYPES.schema1Signed)
      throw root.fail(`it was declared as ${declared}, and is not signed`, 'not-as-declared');
    return readSchema1(root, payload, declared);
  }
  const inner = Place.ofContent('parse signed payload of manifest', payload);
  tellApart(inner, MEDIA_TYPES.schema1);
  return readSchema1(inner, payload, MEDIA_TYPES.schema1Signed);
}

function tellApart(
  root: Place,
  declaration: string | undefined,
  by: DeclaredBy = 'registry',
): { kind: ManifestKind; mediaType: string } {
  const field = root.at('mediaType').optionalText();
  const own = field === undefined ? undefined : essence(field);
  const declared = by === 'index' && isOtherVendors(declaration, own) ? own : declaration;
  for (const mediaType of [declared, own])
    if (mediaType !== undefined && manifestKind(mediaType) === undefined)
      throw root.fail(`${show(mediaType)} is not the media type of a manifest that can be mirrored`, 'unsupported');
  if (declared !== undefined && own !== undefined && declared !== own && manifestKind(own) !== 'schema1')
    throw root.fail(`it was declared as ${declared}, but its mediaType is ${own}`, 'not-as-declared');

  // Go writes null for an empty list, so a null list identifies the kind if no other field does.
  const given = SHAPES.filter(([name]) => root.at(name).given);
  const fields = given.length > 0 ? given : SHAPES.filter(([name]) => Object.hasOwn(root.object(), name));
  const names = fields.map(([name]) => name).join(' and ');
  const kinds = [...new Set(fields.map(([, kind]) => kind))];
  if (kinds.length > 1) throw root.fail(`it has ${names}: it is either one kind of manifest or the other`);
  const mediaType = declared ?? own ?? impliedMediaType(root, kinds[0]);
  const kind = manifestKind(mediaType) as ManifestKind;
  if (kinds[0] !== undefined && kinds[0] !== kind)
    throw root.fail(`it was declared as ${mediaType}, and has ${names}`, 'not-as-declared');
  return { kind, mediaType };
}

/** Whether two media types name one kind of manifest, of Docker and of OCI. */
function isOtherVendors(one = '', other = ''): boolean {
  const kind = manifestKind(one);
  return (kind === 'image' || kind === 'index') && kind === manifestKind(other);
}

/** Docker's manifests name their own type, while OCI's may omit it; but some writers omit Docker's too. */
function impliedMediaType(root: Place, shape: ManifestKind | undefined): string {
  const isOf = (vendor: string, descriptor: Place): boolean =>
    descriptor.at('mediaType').optionalText()?.startsWith(`application/vnd.${vendor}.`) === true;
  const isDocker = (descriptor: Place): boolean => isOf('docker', descriptor);
  switch (shape) {
    case 'image': {
      const config = root.at('config');
      const layers = root.at('layers').optionalList(MANIFEST_LIMITS.layers) ?? [];
      if (!config.given || isOf('oci', config)) return MEDIA_TYPES.ociManifest;
      return [config, ...layers].some(isDocker) ? MEDIA_TYPES.dockerManifest : MEDIA_TYPES.ociManifest;
    }
    case 'index': {
      const children = root.at('manifests').list(MANIFEST_LIMITS.children);
      return children.length > 0 && children.every(isDocker) ? MEDIA_TYPES.dockerList : MEDIA_TYPES.ociIndex;
    }
    case 'artifact':
      return MEDIA_TYPES.ociArtifact;
    case 'schema1':
      return MEDIA_TYPES.schema1;
    case undefined:
      throw root.fail(`it is not a manifest (it has none of ${SHAPES.map(([name]) => name).join(', ')})`);
  }
}

/** Artifact manifests have no schema version. */
function checkSchemaVersion(root: Place, kind: ManifestKind): void {
  const place = root.at('schemaVersion');
  if (kind === 'artifact' && !place.given) return;
  if (place.integer() !== 2)
    throw place.fail(`must be 2 for this kind of manifest, not ${place.integer()}`, 'unsupported');
}

function readCommon(root: Place, mediaType: string): Common {
  const subject = root.at('subject');
  return defined({
    mediaType,
    subject: subject.given ? readDescriptor(subject) : undefined,
    artifactType: root.at('artifactType').optionalText(),
    annotations: root.at('annotations').optionalTexts(),
  });
}
