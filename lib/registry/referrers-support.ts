import { Lru } from '../core/lru.ts';
import type { Digest } from '../oci/digest.ts';

/** For this time, a repository without the API is not asked for referrers again, in milliseconds. */
const NO_API_MS = 60 * 60_000;
/** The same for a repository whose API fails. */
const BROKEN_API_MS = 10 * 60_000;

/** The number of manifests after which a refusal that may concern a single one counts for the repository. */
const DOUBTS = 3;

/** The number of remembered repositories. */
const REPOSITORIES = 10_000;

/** The time for which a repository is not asked. */
export interface Absence {
  readonly until: number;
  /** A warning, where the API exists and fails. */
  readonly note?: string;
}

/**
 * The repositories of an endpoint that have no referrers API. One host may serve repositories of several kinds, such as
 * proxied ones. After a list was served, a refusal concerns only its own manifest.
 */
export class ReferrersSupport {
  readonly #absences = new Lru<string, Absence>(REPOSITORIES);
  readonly #doubts = new Lru<string, 'served' | ReadonlySet<Digest>>(REPOSITORIES);

  absence(repository: string, now: number): Absence | undefined {
    const absence = this.#absences.get(repository);
    return absence !== undefined && absence.until > now ? absence : undefined;
  }

  served(repository: string): void {
    this.#doubts.set(repository, 'served');
  }

  /** The list of a manifest was refused; `isSure` if no other reason than the missing API is likely. */
  refused(repository: string, digest: Digest, isSure: boolean, now: number): void {
    const before = this.#doubts.get(repository);
    if (before === 'served') return;
    const doubts = new Set([...(before ?? []), digest]);
    if (isSure || doubts.size >= DOUBTS) this.#close(repository, { until: now + NO_API_MS });
    else this.#doubts.set(repository, doubts);
  }

  /** All tries for a list have failed. */
  failed(repository: string, note: string, now: number): void {
    this.#close(repository, { until: now + BROKEN_API_MS, note });
  }

  #close(repository: string, absence: Absence): void {
    this.#absences.set(repository, absence);
    this.#doubts.delete(repository);
  }
}
