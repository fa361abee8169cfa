import { Failure } from '../core/failure.ts';
import { defined } from '../core/defined.ts';
import type { Descriptor } from './descriptor.ts';
import type { Digest } from './digest.ts';
import { formatPlatform, matchesPlatform, normalizePlatform, type Platform } from './platform.ts';

/**
 * The choice among the platforms of one image, over all levels of its indexes: what is wanted of each is said as it is
 * met, and whether anything was there that is wanted is known at the end. An index below another may well have nothing.
 */
export class PlatformChoice {
  readonly #policy: 'all' | readonly Platform[];
  readonly #offered = new Set<string>();
  /** Platforms of the policy that something fits. */
  readonly #found = new Set<Platform>();
  readonly #passedOver = new Set<string>();
  #matched: boolean;
  #leftOut = false;

  constructor(policy: 'all' | readonly Platform[]) {
    this.#policy = policy;
    this.#matched = policy === 'all';
  }

  /** Whether something was met that is wanted. */
  get matched(): boolean {
    return this.#matched;
  }

  /** Whether a platform of the policy has not been met yet. */
  get undecided(): boolean {
    return this.absent.length > 0;
  }

  /** Platforms of the policy that nothing has fitted. */
  get absent(): readonly Platform[] {
    return this.#policy === 'all' ? [] : this.#policy.filter((wanted) => !this.#found.has(wanted));
  }

  /**
   * What a user may not expect, each a sentence: platforms that the image does not have, and images that are left out for a
   * difference that the user did not name. To be asked when all has been met.
   */
  get notes(): readonly string[] {
    // Artifacts alone have no platforms that could be missing.
    if (this.#offered.size === 0) return [];
    const absent = this.absent.map((platform) => `platform ${formatPlatform(platform)} is not in the image`);
    return [...absent, ...this.#passedOver];
  }

  /**
   * The children of an index that are wanted, in its order. Children without a platform (nested indexes, artifacts) are
   * kept, and BuildKit's attestations go where the image goes that they are about.
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
   * An image to which no index gives a platform, the root itself for one: its config says for what it is, if anything
   * does. Configs have a variant only of late, and one without may be for any.
   */
  image(platform: Platform | undefined): void {
    if (this.#policy === 'all' || platform === undefined) return;
    // What is no image and has an image's config all the same says so: cosign's signatures, BuildKit's attestations.
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
   * To be called when all has been met. Where there was nothing to choose among, artifacts alone, nothing is missing.
   *
   * @throws {Failure} `no-platform`, naming what is there, where something was left out and nothing fits
   */
  conclude(): void {
    if (this.#policy === 'all' || this.#matched || !this.#leftOut) return;
    throw new Failure({
      operation: `choose platforms ${this.#policy.map(formatPlatform).join(', ')}`,
      side: 'input',
      code: 'no-platform',
      detail: `the image has none of them; it has ${[...this.#offered].join(', ') || 'attestations only'}`,
    });
  }
}

/** Whether an image differs from a wanted platform only in a variant or in OS features, where the user has not named them. */
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
