import { type Config, mirrorsOf } from '../config/config.ts';
import { ALL_TAGS, selectTags } from '../config/tags.ts';

/**
 * Which of a repository's tags are wanted, told page by page. Where only the newest are, what may be one of them is kept
 * until the last page has been seen, and never more than that.
 */
export function tagChoice(
  config: Config,
  { source, repository }: { readonly source: string; readonly repository: string },
): { page(tags: readonly string[]): readonly string[]; end(): readonly string[] } {
  const mirror = mirrorsOf(config, source).find((candidate) => candidate.repository === repository);
  const selection = mirror?.tags ?? ALL_TAGS;
  if (selection.kind === 'listed' || selection.newest === undefined)
    return { page: (tags) => selectTags(tags, selection), end: () => [] };
  let best: string[] = [];
  return {
    page(tags) {
      best = selectTags([...best, ...tags], selection);
      return [];
    },
    end: () => best,
  };
}
