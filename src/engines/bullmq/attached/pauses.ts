import type { Pause, QueueState } from '../../../tasks/queue-state.js';
import type { QueueReads } from '../queues/queue-reads.js';

/**
 * Knows which attached queues are paused, according to BullMQ, and who paused them, if it was this
 * process.
 */
export class AttachedPauses {
  readonly #queues: ReadonlyMap<string, QueueReads>;
  readonly #known = new Map<string, Pause>();

  constructor(queues: ReadonlyMap<string, QueueReads>) {
    this.#queues = queues;
  }

  /** Records who paused a queue. */
  paused(queue: string, by: string, reason: string | undefined): void {
    this.#known.set(queue, { by, at: new Date().toISOString(), reason: reason ?? null });
  }

  /** Records that a queue was resumed. */
  resumed(queue: string): void {
    this.#known.delete(queue);
  }

  /** Returns the state of each queue, sorted by name. */
  async states(): Promise<QueueState[]> {
    const states = await Promise.all(
      [...this.#queues].map(([name, reads]) => this.#stateOf(name, reads)),
    );
    return states.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async #stateOf(name: string, reads: QueueReads): Promise<QueueState> {
    const [paused] = await reads.ask([['hexists', reads.queue.toKey('meta'), 'paused']]);
    if (paused !== 1) return { name, paused: false, pause: null };
    // Another program paused the queue.
    if (!this.#known.has(name)) this.paused(name, '', undefined);
    return { name, paused: true, pause: this.#known.get(name) ?? null };
  }
}
