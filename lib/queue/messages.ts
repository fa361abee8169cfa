import type { Algorithm, Digest } from '../oci/digest.ts';
import type { Platform } from '../oci/platform.ts';
import type { Policy } from '../policy/policy.ts';

/**
 * The version of messages. A field that a reader may ignore is added without a new version; a field that changes the
 * outcome needs one (docs/decisions/0013). A message of an unknown version waits for a release that knows it.
 */
export const MESSAGE_VERSION = 1;

/** The version of a message with a `change`: a finalizer that does not know policies must not handle the message. */
export const CHANGE_VERSION = 2;

export type Message = ResolveMessage | LayerMessage | FinalizeMessage;

/** The part of an image that is mirrored. */
export interface Scope {
  /** The wanted children of an index. */
  readonly platforms: PlatformPolicy;
  /** Skips layers that may not be distributed (Windows base layers); by default they are fetched as all others. */
  readonly foreignLayers?: 'skip';
  /**
   * Refuses an image with a layer whose bytes are not compressed as its media type declares; by default it gets a note.
   */
  readonly strictMediaTypes?: true;
}

/** The request of a run for one repository, and its target. */
export interface Order extends Scope {
  /** The run that this belongs to: letters, digits and `-`. */
  readonly run: string;
  /** Upstream repository, normalised: `docker.io/library/alpine`. */
  readonly source: string;
  /** Repository in the archive: `source` unless mapped. */
  readonly repository: string;
}

export type PlatformPolicy = 'all' | readonly Platform[];

/**
 * The maximum number of images per message. They share one read of the tag index, and their HEADs are sent
 * concurrently.
 */
export const SLICE = 100;

/**
 * Resolve these tags (a slice) or digests, or with `list` every tag of the repository. With `checks`, check unchanged
 * images of the repository for new referrers: those that are due, up to the limit of a run, or those whose referrers
 * are announced.
 */
export interface ResolveMessage extends Order {
  readonly version: typeof MESSAGE_VERSION;
  readonly type: 'resolve';
  readonly what:
    | { readonly kind: 'list' }
    | {
        readonly kind: 'images';
        readonly images: readonly Wanted[];
        /**
         * Whether this is a slice of a listed repository; another message then checks unchanged tags for new referrers.
         */
        readonly listed?: true;
      }
    | {
        readonly kind: 'checks';
        /** Referrers that were pushed: tags, as those of cosign, and digests of manifests. A hint. */
        readonly announced?: readonly Wanted[];
      };
  /**
   * The deduplication id of the next message of a push, and in the last one that of the first. The start of such a run is not
   * recorded, so its end is known only if each message names another one.
   */
  readonly next?: string;
}

/**
 * One image as requested: by tag, by digest, or by both. With both, the digest decides, and the tag is written only if
 * it names that digest upstream.
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
  /** The request, if it had both a tag and a digest; otherwise it had the tag, or without a tag the digest. */
  readonly asked?: Wanted;
  /** A remark for the user, as a sentence. */
  readonly note?: string;
  /** Warnings that the image's result contains, each a sentence. */
  readonly notes?: readonly string[];
  /** The observation time, in milliseconds since the epoch (invariant 5). */
  readonly observed: number;
  /** The largest blob of the closure; while its receipt is missing, the other content need not be checked. */
  readonly largest?: Digest;
  /** Attestations that upstream has only in part; the image counts as complete without them. */
  readonly lost?: readonly Digest[];
  /** The manifest that a referrer refers to, as upstream lists it. */
  readonly subject?: Digest;
  /** The image that a referrer was found for, as requested; for events. */
  readonly root?: Wanted;
  /** The time at which upstream was asked for referrers of the image, in milliseconds since the epoch. */
  readonly checked?: number;
  /** The referrers that were ordered then, and that the archive lacks. */
  readonly awaited?: readonly Digest[];
  /**
   * The signer of the policy that has signed it, and the time that a log proves, in milliseconds since the epoch. Without it, a
   * policy that requires a signature does not release the image.
   */
  readonly verified?: Verified;
  /** The reason why the required signature is missing; nothing below the manifest is fetched then. */
  readonly unverified?: string;
  /** The name of the signers that have refused it (`policy/verification.ts`). */
  readonly signers?: string;
}

export interface Verified {
  readonly by: string;
  readonly at?: number;
}

/** A check of an unchanged image for new referrers. */
export interface ReferrerCheck {
  /** The tag of the entry; without one, the entry is kept by its digest alone. */
  readonly tag?: string;
  readonly digest: Digest;
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** The referrers that were ordered, and that the archive lacks. */
  readonly awaited?: readonly Digest[];
}

export interface LayerMessage extends Order {
  readonly version: typeof MESSAGE_VERSION;
  readonly type: 'layer';
  readonly image: Image;
  readonly blob: {
    readonly digest: Digest;
    readonly mediaType: string;
    /** Bytes; missing for schema1, which has no sizes. */
    readonly size?: number;
    readonly urls?: readonly string[];
    /**
     * The algorithms of the diffIDs that the image claims for it. An empty list means that digest and size are the
     * whole proof. Missing, as in messages of earlier versions: sha256 for a tar layer.
     */
    readonly diffIds?: readonly Algorithm[];
  };
  /**
   * The objects that the layer function has to look up in the archive, on the first delivery, before it asks upstream:
   *
   * - `receipt`: the resolver has not found the blob, but another message may have fetched it since;
   * - `everything`: a receipt, the object, an unfinished upload.
   */
  readonly look: 'receipt' | 'everything';
  /** Starts at 0, and increases by one per continuation. */
  readonly continuation: number;
  /**
   * Consecutive continuations, before this one, that stored no new part. Missing: 0, as in messages of earlier
   * releases.
   */
  readonly stalled?: number;
}

export interface FinalizeMessage extends Order {
  readonly version: typeof MESSAGE_VERSION | typeof CHANGE_VERSION;
  readonly type: 'finalize';
  /** Without tag and digest if the tags of the repository could not be listed. */
  readonly image: Image | Wanted;
  /** Set where the image cannot be mirrored: the failure to record. */
  readonly failure?: RecordedFailure;
  /**
   * Checks for referrers to record. Such a message has no other effect. Its image is one of the checked images, so that
   * an earlier release finds it unchanged.
   */
  readonly checks?: readonly ReferrerCheck[];
  /**
   * Images to attest that the archive had before attestations were switched on. A message with these has `checks` as well,
   * so that it has no other effect.
   */
  readonly attest?: readonly Wanted[];
  /** A change of the repository's state, in version 2 only. Such a message has no other effect, and no image. */
  readonly change?: RepositoryChange;
}

/** A change that only the finalizer writes: the policy to record, or the end of the first completed run in milliseconds. */
export type RepositoryChange = { readonly policy: Policy } | { readonly completed: number };

export interface RecordedFailure {
  readonly code: string;
  readonly reason: string;
  /** The digest that the tag keeps, where the policy does not follow it. */
  readonly current?: Digest;
}
