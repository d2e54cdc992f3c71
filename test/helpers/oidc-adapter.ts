/** What oidc-provider stores under an id. */
interface Stored {
  payload: Record<string, unknown>;
}

/**
 * Makes the storage of a provider in memory. Unlike that of oidc-provider, several instances share
 * it, so that a provider with other keys still knows its sessions and tokens.
 */
export function oidcAdapter() {
  const entries = new Map<string, Stored>();
  class Adapter {
    readonly #model: string;

    constructor(model: string) {
      this.#model = model;
    }

    async upsert(id: string, payload: Record<string, unknown>): Promise<void> {
      entries.set(`${this.#model}:${id}`, { payload });
    }

    async find(id: string): Promise<Record<string, unknown> | undefined> {
      return entries.get(`${this.#model}:${id}`)?.payload;
    }

    async findByUid(uid: string): Promise<Record<string, unknown> | undefined> {
      const found = [...entries].find(
        ([key, { payload }]) => key.startsWith(`${this.#model}:`) && payload.uid === uid,
      );
      return found?.[1].payload;
    }

    async consume(id: string): Promise<void> {
      const found = entries.get(`${this.#model}:${id}`);
      if (found) found.payload.consumed = Math.floor(Date.now() / 1000);
    }

    async destroy(id: string): Promise<void> {
      entries.delete(`${this.#model}:${id}`);
    }

    async revokeByGrantId(grantId: string): Promise<void> {
      for (const [key, { payload }] of entries)
        if (payload.grantId === grantId) entries.delete(key);
    }
  }
  return { Adapter, entries };
}
