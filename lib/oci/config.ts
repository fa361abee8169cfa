import type { Digest } from './digest.ts';
import { Place } from './document.ts';
import { MANIFEST_LIMITS } from './limits.ts';
import { readPlatform, type Platform } from './platform.ts';

export interface ImageConfig {
  /** As the config has it; configs from before both parts were required name none. */
  readonly platform: Platform | undefined;
  /** Digests of the uncompressed layers, base first. */
  readonly diffIds: readonly Digest[];
}

/** Of OCI image spec, "Image Configuration", what a mirror can check. */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  const config = Place.ofBytes('parse image config', bytes);
  const rootfs = config.at('rootfs');
  // "Implementations MUST generate an error if they encounter an unknown value."
  const type = rootfs.at('type');
  if (type.text() !== 'layers')
    throw type.fail('must be "layers"; no other kind of root file system is known', 'unsupported');
  return {
    platform: readPlatform(config),
    diffIds:
      rootfs
        .at('diff_ids')
        .optionalList(MANIFEST_LIMITS.layers)
        ?.map((diffId) => diffId.digest()) ?? [],
  };
}
