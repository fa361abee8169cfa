import type { Config, Mirror } from '../config/mirrors.ts';
import { NO_POLICY, type Policy } from '../policy/policy.ts';
import { ALL_TAGS, selectTags, type TagSelection } from '../config/tags.ts';
import type { Order } from '../queue/messages.ts';

export interface TagChoice {
  page(tags: readonly string[]): readonly string[];
  end(): readonly string[];
}

/** The tags of a repository that the configuration selects. */
export function tagChoice(config: Config, order: Target): TagChoice {
  return choiceOf(mirrorOf(config, order)?.tags ?? ALL_TAGS);
}

/** The policy of a repository in the configuration; undefined for a repository that it does not mirror. */
export function configuredPolicy(config: Config, order: Target): Policy | undefined {
  const mirror = mirrorOf(config, order);
  return mirror === undefined ? undefined : (mirror.policy ?? NO_POLICY);
}

type Target = Pick<Order, 'source' | 'repository'>;

function mirrorOf({ mirrors }: Config, { source, repository }: Target): Mirror | undefined {
  return mirrors.find((mirror) => mirror.source === source && mirror.repository === repository);
}

/** Chooses tags page by page. For a selection of the newest N tags, at most N candidates are kept until the last page. */
export function choiceOf(selection: TagSelection): TagChoice {
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
