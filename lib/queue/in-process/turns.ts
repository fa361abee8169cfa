import type { Group } from './fifo.ts';
import { LinkedList } from './linked-list.ts';

/** Groups that may be handled, in turns: one of each registry. The groups of a registry keep their order. */
export class Turns {
  /** In the order of their turns. A registry without groups is dropped. */
  readonly #registries = new Map<string, LinkedList<Group>>();

  push(registry: string, group: Group): void {
    this.#groupsOf(registry).push(group);
  }

  unshift(registry: string, group: Group): void {
    this.#groupsOf(registry).unshift(group);
  }

  /** Takes the next group of the first registry that may have a turn. */
  take(mayHaveTurn: (registry: string) => boolean): Group | undefined {
    for (const [registry, groups] of this.#registries) {
      if (!mayHaveTurn(registry)) continue;
      const group = groups.shift();
      this.#registries.delete(registry);
      if (groups.first !== undefined) this.#registries.set(registry, groups);
      return group;
    }
    return undefined;
  }

  #groupsOf(registry: string): LinkedList<Group> {
    const groups = this.#registries.get(registry) ?? new LinkedList<Group>();
    this.#registries.set(registry, groups);
    return groups;
  }
}
