/** Maximum number of names that are remembered. */
const maxNames = 10_000;

/**
 * Remembers names, so that a line about each is logged only once. It forgets all of them when they
 * are too many: other programs may use any number of names.
 */
export class LoggedNames {
  readonly #names = new Set<string>();

  /** Adds a name. Returns whether it is new. */
  add(name: string): boolean {
    if (this.#names.has(name)) return false;
    if (this.#names.size >= maxNames) this.#names.clear();
    this.#names.add(name);
    return true;
  }
}
