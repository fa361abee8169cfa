import type { Algorithm } from '../oci/digest.ts';
import { isTarLayer } from '../oci/mediatype.ts';

interface Layer {
  readonly mediaType: string;
  readonly diffIds?: readonly Algorithm[] | undefined;
}

/** The algorithms of the diffIDs that are proven of a blob. Only the tar family has diffIDs (decision 0002). */
export function algorithmsOf({ mediaType, diffIds = ['sha256'] }: Layer): readonly Algorithm[] {
  return isTarLayer(mediaType) ? diffIds : [];
}
