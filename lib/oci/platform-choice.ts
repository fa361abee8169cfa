import { Failure } from '../base/failure.ts';
import { defined } from './defined.ts';
import type { Descriptor } from './descriptor.ts';
import type { Digest } from './digest.ts';
import { formatPlatform, matchesPlatform, type Platform } from './platform.ts';

/**
 * The choice among the platforms of one image, over all levels of its indexes: what is wanted of each is said as it is
 * met, and whether anything was there that is wanted is known at the end. An index below another may well have nothing.
 */
export class PlatformChoice {
  readonly #policy: 'all' | readonly Platform[];
  readonly #offered = new Set<string>();
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
      if (policy.some((wanted) => matchesPlatform(wanted, platform))) images.add(digest);
      if (!isAttestation(child)) this.#offered.add(formatPlatform(platform));
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
    if (this.#policy.some(fits)) this.#matched = true;
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

/** https://docs.docker.com/build/metadata/attestations/attestation-storage/ */
function isAttestation({ platform, annotations }: Descriptor): boolean {
  return platform?.os === 'unknown' && annotations?.['vnd.docker.reference.digest'] !== undefined;
}

function attestedBy(child: Descriptor): string | undefined {
  return isAttestation(child) ? child.annotations?.['vnd.docker.reference.digest'] : undefined;
}
