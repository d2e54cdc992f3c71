import type { Pause, QueueState } from '../../tasks/engine.js';
import type { QueueReads } from './queue-reads.js';

/** Which attached queues are paused, by what BullMQ says, and who paused them, by what this process knows. */
export class AttachedPauses {
  readonly #queues: ReadonlyMap<string, QueueReads>;
  readonly #known = new Map<string, Pause>();

  constructor(queues: ReadonlyMap<string, QueueReads>) {
    this.#queues = queues;
  }

  /** Notes who has paused a queue. */
  paused(queue: string, by: string, reason: string | undefined): void {
    this.#known.set(queue, { by, at: new Date().toISOString(), reason: reason ?? null });
  }

  /** Notes that a queue is no longer paused. */
  resumed(queue: string): void {
    this.#known.delete(queue);
  }

  /** The queues, in the order of their names. */
  async states(): Promise<QueueState[]> {
    const states = await Promise.all([...this.#queues].map(([name, reads]) => this.#stateOf(name, reads)));
    return states.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async #stateOf(name: string, reads: QueueReads): Promise<QueueState> {
    const [paused] = await reads.ask([['hexists', reads.queue.toKey('meta'), 'paused']]);
    if (paused !== 1) return { name, paused: false, pause: null };
    // Another program has paused it.
    if (!this.#known.has(name)) this.paused(name, '', undefined);
    return { name, paused: true, pause: this.#known.get(name) ?? null };
  }
}
