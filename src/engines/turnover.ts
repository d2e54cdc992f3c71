/** Minimum number of additions before the entries move to a new Map. */
const additions = 256;

/**
 * A Map for short-lived entries, such as one per running task.
 *
 * V8 links the tables of a Map: a full table refers to the table that replaces it. If the garbage
 * collector has moved a table to the old generation, it keeps all later tables and their entries
 * until the next full collection. This holds even for entries that were deleted. At a thousand
 * tasks per second, copying these tables takes more time than running the tasks. Tables of
 * different Maps are not linked, so this class moves its entries to a new Map from time to time.
 */
export class TurnoverMap<K, V> {
  #entries = new Map<K, V>();
  #added = 0;

  get size(): number {
    return this.#entries.size;
  }

  get(key: K): V | undefined {
    return this.#entries.get(key);
  }

  set(key: K, value: V): void {
    this.#added += 1;
    // At least as many additions as entries, so that an addition has a constant cost on average.
    if (this.#added > Math.max(additions, this.#entries.size)) {
      this.#entries = new Map(this.#entries);
      this.#added = 0;
    }
    this.#entries.set(key, value);
  }

  delete(key: K): boolean {
    return this.#entries.delete(key);
  }

  values(): MapIterator<V> {
    return this.#entries.values();
  }
}

/** A Set for short-lived values. It avoids the memory problem that `TurnoverMap` describes. */
export class TurnoverSet<T> {
  readonly #values: TurnoverMap<T, T>;

  constructor(values: Iterable<T> = []) {
    this.#values = new TurnoverMap();
    for (const value of values) this.add(value);
  }

  get size(): number {
    return this.#values.size;
  }

  add(value: T): this {
    this.#values.set(value, value);
    return this;
  }

  delete(value: T): boolean {
    return this.#values.delete(value);
  }

  [Symbol.iterator](): MapIterator<T> {
    return this.#values.values();
  }
}
