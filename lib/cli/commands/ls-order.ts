import type { Digest } from '../../oci/digest.ts';

/** A line of `ls`, with the facts that decide its place. */
export interface Placed {
  /** For a referrer: the manifest that it refers to. */
  readonly subject: Digest | undefined;
  /** The manifests of its closure. */
  readonly manifests: Iterable<Digest>;
}

/** Puts each referrer below the first image that has its subject; those without such an image are last. Pure. */
export function withReferrers<T extends Placed>(lines: readonly T[]): { readonly line: T; readonly depth: number }[] {
  const bySubject = Map.groupBy(lines, ({ subject }) => subject);
  const placed = new Set<T>();
  const ordered: { line: T; depth: number }[] = [];
  const place = (line: T, depth: number): void => {
    if (placed.has(line)) return;
    placed.add(line);
    ordered.push({ line, depth });
    for (const digest of line.manifests) for (const below of bySubject.get(digest) ?? []) place(below, depth + 1);
  };
  for (const line of bySubject.get(undefined) ?? []) place(line, 0);
  for (const line of lines) place(line, 0);
  return ordered;
}
