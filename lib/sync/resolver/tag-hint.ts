import { isTag } from '../../oci/reference.ts';
import type { Source } from '../../registry/source.ts';

/** Tags that a hint names. */
const NAMED = 5;

/**
 * The first page of a repository's tags; undefined where they cannot be listed, which does not mean that a tag is
 * missing.
 */
export async function firstTags(source: Source, signal: AbortSignal): Promise<readonly string[] | undefined> {
  try {
    for await (const tags of source.tags({ signal })) return tags.filter(isTag);
  } catch {
    return undefined;
  }
  return undefined;
}

/** A message with the tags that a repository has, for a missing tag; tags with the same beginning come first. */
export function tagHint(tags: readonly string[], tag: string): string {
  if (tags.length === 0) return 'upstream has no tags in this repository';
  if (tags.includes(tag)) return 'upstream lists this tag nevertheless';
  const common = (other: string): number => {
    let length = 0;
    while (length < tag.length && tag[length] === other[length]) length += 1;
    return length;
  };
  // Without sorting, because each of thousands of missing tags has a hint.
  const nearest: { readonly name: string; readonly length: number }[] = [];
  for (const name of tags) {
    const length = common(name);
    if (nearest.length === NAMED && length <= (nearest.at(-1)?.length ?? 0)) continue;
    const at = nearest.findIndex((each) => each.length < length);
    nearest.splice(at === -1 ? nearest.length : at, 0, { name, length });
    nearest.splice(NAMED);
  }
  const others = tags.length - nearest.length;
  const named = `${nearest.map(({ name }) => name).join(', ')}${others > 0 ? ` and ${others} more` : ''}`;
  return `upstream has ${named}; --all-tags, or tags: all in mirror.yaml, mirrors all of them`;
}
