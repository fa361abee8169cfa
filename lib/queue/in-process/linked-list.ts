interface Node<T> {
  readonly value: T;
  next: Node<T> | undefined;
}

/** A queue whose steps take constant time, unlike an array's `shift`. */
export class LinkedList<T> {
  #head: Node<T> | undefined;
  #tail: Node<T> | undefined;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  get first(): T | undefined {
    return this.#head?.value;
  }

  push(value: T): void {
    const node = { value, next: undefined };
    if (this.#tail === undefined) this.#head = node;
    else this.#tail.next = node;
    this.#tail = node;
    this.#length += 1;
  }

  unshift(value: T): void {
    this.#head = { value, next: this.#head };
    this.#tail ??= this.#head;
    this.#length += 1;
  }

  shift(): T | undefined {
    const node = this.#head;
    if (node === undefined) return undefined;
    this.#head = node.next;
    if (this.#head === undefined) this.#tail = undefined;
    this.#length -= 1;
    return node.value;
  }
}
