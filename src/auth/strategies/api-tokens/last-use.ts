import { LRUCache } from 'lru-cache';
import { Background } from '../../../background.js';
import { runInEmptyContext } from '../../../empty-context.js';
import type { StoreValue } from '../../../store/shared-store.js';
import { forwardClock } from '../../forward-clock.js';
import type { StrategyParts } from '../strategy.js';

/** When and from where a token was used last. */
export interface LastUse {
  /** Unix milliseconds. */
  at: number;
  ip: string;
}

/** Milliseconds between two records of the use of one token. */
const interval = 60_000;
const prefix = 'used:';

/** Records when tokens were used last: at most once a minute for each token, in all processes. */
export class LastUses {
  readonly #parts: Pick<StrategyParts, 'store' | 'now'>;
  readonly #background: Background;
  readonly #clock: () => number;
  readonly #noted = new LRUCache<string, number>({ max: 10_000 });

  constructor(parts: Pick<StrategyParts, 'store' | 'now' | 'logger'>) {
    this.#parts = parts;
    this.#clock = forwardClock(parts.now);
    this.#background = new Background(parts.logger, 'recording the last use of API tokens');
  }

  /** Records a use. `expiresAt` is when the record may be dropped. */
  note(id: string, ip: string, expiresAt: number): void {
    const clock = this.#clock();
    if (clock - (this.#noted.get(id) ?? Number.NEGATIVE_INFINITY) < interval) return;
    this.#noted.set(id, clock);
    const { store, now } = this.#parts;
    const write = async (): Promise<void> => {
      const before = await store.get(prefix + id);
      const last = useOf(before);
      if (last && Math.abs(now() - last.at) < interval) return;
      const ttl = (expiresAt - now()) / 1000;
      // If another process records a use at the same time, one of the two is enough.
      if (ttl > 0) await store.replace(prefix + id, before, { at: now(), ip }, ttl);
    };
    runInEmptyContext(() => this.#background.run(write));
  }

  /** Resolves to the last use of a token, or to `undefined` if there was none. */
  async of(id: string): Promise<LastUse | undefined> {
    return useOf(await this.#parts.store.get(prefix + id));
  }
}

function useOf(value: StoreValue | undefined): LastUse | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { at, ip } = value as Partial<LastUse>;
  return typeof at === 'number' && typeof ip === 'string' ? { at, ip } : undefined;
}
