import { Failure } from '../core/failure.ts';
import { defined } from '../core/defined.ts';
import type { Descriptor } from './descriptor.ts';
import type { Digest } from './digest.ts';
import { formatPlatform, matchesPlatform, normalizePlatform, type Platform } from './platform.ts';

/**
 * Chooses among the platforms of one image, over all levels of its indexes. The platforms of each level are chosen when
 * the level is read; only the end shows whether any wanted platform was found. A nested index need not contain a wanted
 * platform.
 */
export class PlatformChoice {
  readonly #policy: 'all' | readonly Platform[];
  readonly #offered = new Set<string>();
  /** Platforms of the policy that at least one image fits. */
  readonly #found = new Set<Platform>();
  readonly #passedOver = new Set<string>();
  #matched: boolean;
  #leftOut = false;

  constructor(policy: 'all' | readonly Platform[]) {
    this.#policy = policy;
    this.#matched = policy === 'all';
  }

  /** Whether a wanted image was found. */
  get matched(): boolean {
    return this.#matched;
  }

  /** Whether a platform of the policy has not been found yet. */
  get undecided(): boolean {
    return this.absent.length > 0;
  }

  /** Platforms of the policy that no image fits. */
  get absent(): readonly Platform[] {
    return this.#policy === 'all' ? [] : this.#policy.filter((wanted) => !this.#found.has(wanted));
  }

  /**
   * Notes for the user, each a sentence: platforms that the image does not have, and images that are left out because
   * of a variant or an OS feature that the user did not name. Complete only after all levels were read.
   */
  get notes(): readonly string[] {
    // An image that consists of artifacts has no platforms that could be missing.
    if (this.#offered.size === 0) return [];
    const absent = this.absent.map((platform) => `platform ${formatPlatform(platform)} is not in the image`);
    return [...absent, ...this.#passedOver];
  }

  /**
   * The wanted children of an index, in its order. Children without a platform (nested indexes, artifacts) are kept.
   * BuildKit's attestations are kept with the image that they describe.
   */
  among(children: readonly Descriptor[]): Descriptor[] {
    const policy = this.#policy;
    if (policy === 'all') return [...children];
    const images = new Set<Digest>();
    for (const child of children) {
      const { platform, digest } = child;
      if (platform === undefined) continue;
      const fitting = policy.filter((wanted) => matchesPlatform(wanted, platform));
      for (const wanted of fitting) this.#found.add(wanted);
      if (fitting.length > 0) images.add(digest);
      if (isAttestation(child)) continue;
      this.#offered.add(formatPlatform(platform));
      const near = fitting.length > 0 ? undefined : policy.find((wanted) => differsUnnamed(wanted, platform));
      if (near !== undefined)
        this.#passedOver.add(
          `platform ${formatPlatform(platform)} is left out: ${formatPlatform(near)} does not name it`,
        );
    }
    const chosen = children.filter(
      (child) => child.platform === undefined || images.has(child.digest) || images.has(attestedBy(child) as Digest),
    );
    if (images.size > 0) this.#matched = true;
    if (chosen.length < children.length) this.#leftOut = true;
    return chosen;
  }

  /**
   * Adds an image to which no index gives a platform, such as the root itself: its config may name the platform.
   * Older configs do not name a variant, so such an image may fit any variant.
   */
  image(platform: Platform | undefined): void {
    if (this.#policy === 'all' || platform === undefined) return;
    // Attestations and signatures (BuildKit, cosign) have the config type of an image, and the platform "unknown".
    if (platform.os === 'unknown' || platform.architecture === 'unknown') return;
    const fits = (wanted: Platform): boolean =>
      matchesPlatform(wanted, defined({ ...platform, variant: platform.variant ?? wanted.variant }));
    const fitting = this.#policy.filter(fits);
    for (const wanted of fitting) this.#found.add(wanted);
    if (fitting.length > 0) this.#matched = true;
    else this.#leftOut = true;
    this.#offered.add(formatPlatform(platform));
  }

  /**
   * Ends the choice; call it after all levels were read. An image that consists of artifacts lacks no platform.
   *
   * @throws {Failure} `no-platform`, naming the available platforms, where images were left out and no image fits
   */
  conclude(): void {
    if (this.#policy === 'all' || this.#matched || !this.#leftOut) return;
    const operation = `choose platforms ${this.#policy.map(formatPlatform).join(', ')}`;
    const detail = `the image has none of them; it has ${[...this.#offered].join(', ') || 'attestations only'}`;
    throw new Failure({ operation, side: 'input', code: 'no-platform', detail });
  }
}

/** Whether an image differs from a wanted platform only in a variant or OS features that the user did not name. */
function differsUnnamed(wanted: Platform, have: Platform): boolean {
  const want = normalizePlatform(wanted);
  const has = normalizePlatform(have);
  const bare = ({ variant: _, osFeatures: __, ...platform }: Platform): Platform => platform;
  const variantFits = want.variant === has.variant || want.variant === undefined;
  return variantFits && matchesPlatform(bare(want), bare(has));
}

/** https://docs.docker.com/build/metadata/attestations/attestation-storage/ */
export function isAttestation({ platform, annotations }: Descriptor): boolean {
  return platform?.os === 'unknown' && annotations?.['vnd.docker.reference.digest'] !== undefined;
}

function attestedBy(child: Descriptor): string | undefined {
  return isAttestation(child) ? child.annotations?.['vnd.docker.reference.digest'] : undefined;
}
