/** A map that can list its keys in order. A range of keys can be read without visiting all keys. */
export class OrderedMap<V> extends Map<string, V> {
  readonly #keys: string[] = [];

  override set(key: string, value: V): this {
    if (!this.has(key)) this.#keys.splice(this.#indexOf(key), 0, key);
    return super.set(key, value);
  }

  override delete(key: string): boolean {
    if (!super.delete(key)) return false;
    this.#keys.splice(this.#indexOf(key), 1);
    return true;
  }

  /** Yields the keys from `start` on, in order. The map must not change during the iteration. */
  *keysFrom(start: string): Generator<string> {
    for (let index = this.#indexOf(start); index < this.#keys.length; index += 1)
      yield this.#keys[index] ?? '';
  }

  /** The index of a key, or the index at which it would be inserted. */
  #indexOf(key: string): number {
    let [low, high] = [0, this.#keys.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#keys[middle] ?? '') < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
