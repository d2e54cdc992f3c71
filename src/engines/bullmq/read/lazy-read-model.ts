import type { Changes, TaskFilter, TaskPage, TaskQuery } from '../../../tasks/engine.js';
import type { TaskSummary } from '../../../tasks/types.js';
import type { Live } from '../../figures.js';
import type { ReadModel } from './read-model.js';

/**
 * A read model that the first call opens, so that a process that never reads does not fill a
 * window.
 */
export class LazyReadModel implements ReadModel {
  readonly #open: () => Promise<ReadModel>;
  #opened: Promise<ReadModel> | undefined;

  constructor(open: () => Promise<ReadModel>) {
    this.#open = open;
  }

  #model(): Promise<ReadModel> {
    if (!this.#opened) {
      const opened = this.#open();
      this.#opened = opened;
      // The next call tries again.
      opened.catch(() => {
        if (this.#opened === opened) this.#opened = undefined;
      });
    }
    return this.#opened;
  }

  async find(query: TaskQuery): Promise<TaskPage> {
    return (await this.#model()).find(query);
  }

  async filled(): Promise<void> {
    await (await this.#model()).filled();
  }

  async count(filter: TaskFilter): ReturnType<ReadModel['count']> {
    return (await this.#model()).count(filter);
  }

  async summaries(ids: readonly string[]): Promise<readonly TaskSummary[]> {
    return (await this.#model()).summaries(ids);
  }

  async live(): Promise<readonly Live[]> {
    return (await this.#model()).live();
  }

  async *watch(after: number, signal: AbortSignal): AsyncGenerator<Changes> {
    yield* (await this.#model()).watch(after, signal);
  }

  async revs(): Promise<{ rev: number; oldestRev: number }> {
    return (await this.#model()).revs();
  }

  async close(): Promise<void> {
    const model = await this.#opened?.catch(() => undefined);
    await model?.close();
  }
}
