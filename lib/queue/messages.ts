import type { Algorithm, Digest } from '../oci/digest.ts';
import type { Platform } from '../oci/platform.ts';

/**
 * The version of messages. A field that a reader may ignore is added without a new version; a field that changes the
 * outcome needs one (docs/decisions/0013). A message of an unknown version waits for a release that knows it.
 */
export const MESSAGE_VERSION = 1;

export type Message = ResolveMessage | LayerMessage | FinalizeMessage;

/** What of an image is mirrored. */
export interface Scope {
  /** Which children of an index. */
  readonly platforms: PlatformPolicy;
  /** Layers that may not be distributed (Windows base layers) are left out; without this they are fetched as all others. */
  readonly foreignLayers?: 'skip';
  /** An image with a layer whose bytes are not compressed as its media type declares is refused; without this it is noted. */
  readonly strictMediaTypes?: true;
}

/** What a run was asked to mirror, and where to. */
export interface Order extends Scope {
  /** The run that this belongs to: letters, digits and `-`. */
  readonly run: string;
  /** Upstream repository, normalised: `docker.io/library/alpine`. */
  readonly source: string;
  /** Repository in the archive: `source` unless mapped. */
  readonly repository: string;
}

export type PlatformPolicy = 'all' | readonly Platform[];

/** Images that one message asks for: one read of the tag index serves them all, and their HEADs go side by side. */
export const SLICE = 100;

/** Resolve these tags (a slice), these digests, or, with `list`, every tag from this page on. */
export interface ResolveMessage extends Order {
  readonly version: typeof MESSAGE_VERSION;
  readonly type: 'resolve';
  readonly what:
    | { readonly kind: 'list' }
    | {
        readonly kind: 'images';
        readonly images: readonly Wanted[];
        /** These are all that the run asks for: no other message of it can want the same blobs. */
        readonly sole?: true;
      };
}

/**
 * One image as it was asked for: by tag, by digest, or by both (then the digest decides, and the tag is written only where
 * it names that digest upstream).
 */
export interface Wanted {
  readonly tag?: string;
  readonly digest?: Digest;
}

/** One image as it was found upstream. */
export interface Image {
  /** The digest of the root manifest or index. */
  readonly digest: Digest;
  /** Its media type and size in bytes, for the tag index's descriptor. */
  readonly mediaType: string;
  readonly size: number;
  /** The tag to write; without one the image is kept by digest alone. */
  readonly tag?: string;
  /** As it was asked for, where that was by tag and digest at once; else it was by its tag, or without one by its digest. */
  readonly asked?: Wanted;
  /** What whoever asked for it is told besides, in a sentence. */
  readonly note?: string;
  /** Warnings that end with the image's result, each a sentence. */
  readonly notes?: readonly string[];
  /** When upstream was seen to say so, in milliseconds since the epoch (invariant 5). */
  readonly observed: number;
  /** The largest blob of its closure: while that lacks its receipt, nothing else need be looked at. */
  readonly largest?: Digest;
  /** Attestations that upstream has only in part: the image is complete without them. */
  readonly lost?: readonly Digest[];
}

export interface LayerMessage extends Order {
  readonly version: typeof MESSAGE_VERSION;
  readonly type: 'layer';
  readonly image: Image;
  readonly blob: {
    readonly digest: Digest;
    readonly mediaType: string;
    /** Bytes; schema1 does not say. */
    readonly size?: number;
    readonly urls?: readonly string[];
    /**
     * The algorithms of the diffIDs that the image claims for it. None: digest and size are its proof. Not given, as in
     * messages of earlier versions: sha256 for a layer of the tar family.
     */
    readonly diffIds?: readonly Algorithm[];
  };
  /**
   * What the layer has to look for in the archive, on its first delivery, before it asks upstream:
   * - `nothing`: the resolver has looked, and nobody in this run was told before to fetch this blob;
   * - `receipt`: the resolver has looked, but another message may have brought the blob meanwhile;
   * - `everything`: a receipt, the object, an unfinished upload.
   */
  readonly look: 'nothing' | 'receipt' | 'everything';
  /** 0, then one more a continuation. */
  readonly continuation: number;
  /** The last continuations in a row, before this one, that stored no new part. Absent: 0, as in messages of earlier releases. */
  readonly stalled?: number;
}

export interface FinalizeMessage extends Order {
  readonly version: typeof MESSAGE_VERSION;
  readonly type: 'finalize';
  /** Neither tag nor digest where the tags of the repository could not be listed. */
  readonly image: Image | Wanted;
  /** Set where the image cannot be mirrored: what is recorded then. */
  readonly failure?: RecordedFailure;
}

export interface RecordedFailure {
  readonly code: string;
  readonly reason: string;
}
