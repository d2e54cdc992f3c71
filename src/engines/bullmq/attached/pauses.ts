import type { CommandBy } from '../../../tasks/commands.js';
import type { Pause, QueueState } from '../../../tasks/queue-state.js';
import type { QueueReads } from '../queues/queue-reads.js';
import { pauseBy } from '../stored-pause.js';

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

  /** Returns whether a queue is paused now, according to BullMQ. */
  async isPaused(reads: QueueReads): Promise<boolean> {
    const [paused] = await reads.ask([['hexists', reads.queue.toKey('meta'), 'paused']]);
    return paused === 1;
  }

  /** Records who paused a queue. If a user had paused it before, that pause is kept. */
  paused(queue: string, by: CommandBy, wasPaused: boolean): void {
    if (wasPaused && this.#known.get(queue)?.by) return;
    this.#known.set(queue, pauseBy(by));
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
    if (!(await this.isPaused(reads))) return { name, paused: false, pause: null };
    // Another program paused the queue.
    if (!this.#known.has(name)) this.paused(name, { actor: '' }, false);
    return { name, paused: true, pause: this.#known.get(name) ?? null };
  }
}
