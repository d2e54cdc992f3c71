import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { EmbeddedOptions } from '../../src/engines/embedded/engine.js';
import { filePromises } from '../../src/engines/embedded/promises.js';
import { type ErrorCode, TaskflowError } from '../../src/errors.js';
import type { Changes, TaskEngine, TransitionObserver } from '../../src/tasks/engine.js';
import type { TaskSummary } from '../../src/tasks/types.js';

type Settings = Pick<EmbeddedOptions, 'database' | 'pollInterval'>;

interface Message {
  call?: number;
  value?: unknown;
  error?: { code: ErrorCode | undefined; message: string };
  changes?: Changes;
  engine?: number;
  told?: TaskSummary;
}

/**
 * A separate process with engines for this one. Its engines only store and read, because handlers
 * are functions of this process.
 */
export class EngineProcess {
  readonly #child: ChildProcess;
  readonly #listeners = new Map<number, (message: Message) => void>();
  readonly #observers = new Map<number, TransitionObserver>();
  #calls = 0;
  #engines = 0;

  constructor() {
    this.#child = fork(fileURLToPath(new URL('./scripts/engine.js', import.meta.url)), {
      serialization: 'advanced',
      execArgv: [],
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    this.#child.on('message', (message: Message) => {
      if (message.call !== undefined) this.#listeners.get(message.call)?.(message);
      const observer = this.#observers.get(message.engine ?? -1);
      if (message.told && observer?.wants(message.told.status)) observer.tell(message.told);
    });
  }

  /** Makes an engine that forwards each call to that process. */
  engine(settings: Settings): TaskEngine {
    const engine = this.#engines++;
    const opened = this.#ask(engine, 'open', [settings]);
    const ask = async (method: string, ...args: unknown[]): Promise<never> => {
      await opened;
      return (await this.#ask(engine, method, args)) as never;
    };
    return {
      promises: filePromises(settings.pollInterval),
      can: new Set(['retry', 'rerun', 'cancel', 'delete', 'run', 'pause', 'resume']),
      start: () => ask('start', undefined),
      stop: (options) => ask('stop', options),
      enqueue: (tasks) => ask('enqueue', tasks),
      find: (query) => ask('find', query),
      get: (id) => ask('get', id),
      logs: (id, query) => ask('logs', id, query),
      aggregate: (kind: string, range?: unknown) => ask('aggregate', kind, range),
      describe: () => ask('describe'),
      control: (command, by) => ask('control', command, by),
      watch: (after, signal) => this.#watch(engine, after, signal),
      observe: (observer) => void this.#observers.set(engine, observer),
      schedule: () => {
        throw new Error('schedules fire where handlers run');
      },
      get store(): never {
        throw new Error('the store is tested by itself');
      },
    };
  }

  #ask(engine: number, method: string, args: readonly unknown[]): Promise<unknown> {
    const call = this.#calls++;
    return new Promise((resolve, reject) => {
      this.#listeners.set(call, ({ value, error }) => {
        this.#listeners.delete(call);
        if (error)
          reject(
            error.code ? new TaskflowError(error.code, error.message) : new Error(error.message),
          );
        else resolve(value);
      });
      this.#child.send({ call, engine, method, args });
    });
  }

  async *#watch(engine: number, after: number, signal: AbortSignal): AsyncGenerator<Changes> {
    const call = this.#calls++;
    const waiting: Message[] = [];
    let wake = (): void => {};
    this.#listeners.set(call, (message) => {
      waiting.push(message);
      wake();
    });
    const unwatch = (): boolean =>
      this.#child.send({ call, engine, method: 'unwatch', args: [call] });
    this.#child.send({ call, engine, method: 'watch', args: [after] });
    if (signal.aborted) unwatch();
    else signal.addEventListener('abort', unwatch);
    for (;;) {
      const message = waiting.shift();
      if (!message) await new Promise<void>((resolve) => (wake = resolve));
      else if (message.changes) yield message.changes;
      else break;
    }
    this.#listeners.delete(call);
  }

  async end(): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.disconnect();
    await ended;
  }
}
