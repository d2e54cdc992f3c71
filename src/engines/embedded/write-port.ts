import { Worker } from 'node:worker_threads';
import { Background } from '../../background.js';
import { TaskflowError } from '../../errors.js';
import type { Logger } from '../../options.js';
import { packageFile } from '../../package-files.js';
import {
  type Database,
  inMemory,
  openDatabase,
  prepareConnection,
  unusable,
} from '../tables/schema/database.js';
import { layOut } from '../tables/schema/layout.js';
import type { Batch, BatchResult } from '../tables/write/batch.js';
import { Writer } from '../tables/write/writer.js';
import { packed, weightOf } from './batch-weight.js';
import { guardThread } from './thread-guard.js';

/**
 * Applies batches. For a file, a separate thread writes them, so that a slow disk never blocks the
 * app.
 */
export interface WritePort {
  apply(batch: Batch): Promise<BatchResult>;
  /** While `busy` is `true`, keeps the process alive. */
  hold(busy: boolean): void;
  close(): Promise<void>;
}

/**
 * Messages from the writing thread. A result that is too large for one string is sent as an object.
 */
export type FromThread =
  | { ready: true }
  | { failed: string }
  | { result: string | BatchResult }
  | { unanswered: string };

const threadFile = packageFile('dist/engines/embedded/write-thread.js');

/**
 * Milliseconds before a thread that has ended is restarted: the first and the longest delay. Each
 * failed start doubles the delay.
 */
const restartDelay = { first: 100, most: 5_000 };

interface Waiting {
  resolve(result: BatchResult): void;
  reject(error: Error): void;
}

/**
 * Opens the file on a separate thread. Rejects with ENGINE_UNAVAILABLE if the file cannot be used.
 */
export async function threadPort(path: string, { logger }: { logger: Logger }): Promise<WritePort> {
  const port = new ThreadPort(path, logger);
  await port.start();
  return {
    apply: (batch) => port.apply(batch),
    hold: (busy) => port.hold(busy),
    close: () => port.close(),
  };
}

/**
 * Sends batches to a thread, which answers them in order. If the thread ends, it is restarted.
 * Batches without an answer may or may not have been stored. Batches that are sent before the new
 * thread is ready are rejected.
 */
class ThreadPort implements WritePort {
  readonly #path: string;
  readonly #state: Background;
  #thread: Worker | undefined;
  /** The callers whose batches have no answer yet, in the order of sending. */
  #waiting: Waiting[] = [];
  #starting: Promise<void> | undefined;
  #restart: NodeJS.Timeout | undefined;
  #held = false;
  #closed = false;

  constructor(path: string, logger: Logger) {
    this.#path = path;
    this.#state = new Background(logger, 'the thread that writes the task database');
  }

  start(): Promise<void> {
    this.#starting = new Promise((resolve, reject) => {
      const { shared, release } = guardThread();
      // The thread does not inherit the flags of the process, because a loader or an --input-type
      // of the app must not apply to this file.
      const thread = new Worker(threadFile, {
        workerData: { path: this.#path, guard: shared },
        execArgv: [],
      });
      let cause: unknown;
      thread.on('message', (message: FromThread) => {
        if ('failed' in message) reject(unusable(this.#path, message.failed));
        else if ('ready' in message) {
          this.#thread = thread;
          this.#keepAlive();
          resolve();
        } else this.#answered(message);
      });
      // An answer that cannot be read still answers its batch.
      thread.on('messageerror', (error) => this.#answered({ unanswered: error.message }));
      // The event `exit` follows.
      thread.on('error', (error) => {
        cause = error;
      });
      thread.on('exit', () => {
        release();
        reject(unusable(this.#path, 'the thread that writes it ended', cause));
        if (this.#thread === thread) this.#ended(cause);
      });
    });
    return this.#starting;
  }

  // Not async: if a batch cannot be sent, this throws before a caller waits for the answer.
  apply(batch: Batch): Promise<BatchResult> {
    const thread = this.#thread;
    if (!thread)
      return Promise.reject(
        this.#closed ? closed() : unanswered('is being started again', { maybeDone: false }),
      );
    thread.postMessage(
      packed(
        batch,
        batch.writes.reduce((sum, write) => sum + weightOf(write), 0),
      ),
    );
    thread.ref();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
    });
  }

  hold(busy: boolean): void {
    this.#held = busy;
    this.#keepAlive();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#restart);
    await this.#starting?.catch(() => undefined);
    const thread = this.#thread;
    if (!thread) return;
    thread.ref();
    const ended = new Promise<void>((resolve) => thread.once('exit', () => resolve()));
    thread.postMessage('close');
    await ended;
  }

  #answered(message: Exclude<FromThread, { ready: true } | { failed: string }>): void {
    const first = this.#waiting.shift();
    this.#keepAlive();
    if ('unanswered' in message) {
      const why =
        `the thread that writes the task database gave no answer (${message.unanswered}). ` +
        `${unknown}`;
      first?.reject(new TaskflowError('ENGINE_UNAVAILABLE', why, { maybeDone: true }));
    } else
      first?.resolve(
        typeof message.result === 'string'
          ? (JSON.parse(message.result) as BatchResult)
          : message.result,
      );
  }

  #ended(cause: unknown): void {
    this.#thread = undefined;
    const waiting = this.#waiting.splice(0);
    const error = this.#closed ? closed() : unanswered('ended', { maybeDone: true, cause });
    for (const { reject } of waiting) reject(error);
    if (this.#closed) return;
    this.#state.failed(cause ?? new Error('it ended without an error'));
    this.#restartIn(restartDelay.first);
  }

  #restartIn(delay: number): void {
    this.#restart = setTimeout(() => {
      this.start().then(
        () => this.#state.worked(),
        () => {
          if (!this.#closed) this.#restartIn(Math.min(delay * 2, restartDelay.most));
        },
      );
    }, delay);
    if (!this.#held) this.#restart.unref();
  }

  #keepAlive(): void {
    if (this.#held || this.#waiting.length > 0) this.#thread?.ref();
    else this.#thread?.unref();
  }
}

const unknown = 'It is not known whether this was stored.';

/**
 * Creates the error for a batch without an answer. It counts as reported, because the end of the
 * thread was logged once for all batches.
 */
function unanswered(
  what: string,
  { maybeDone, cause }: { maybeDone: boolean; cause?: unknown },
): TaskflowError {
  const message =
    `the thread that writes the task database ${what}. ` +
    `${maybeDone ? unknown : 'Nothing was stored.'}`;
  return new TaskflowError('ENGINE_UNAVAILABLE', message, { cause, maybeDone, reported: true });
}

const closed = (): TaskflowError =>
  new TaskflowError('ENGINE_UNAVAILABLE', 'the task database is closed');

/**
 * Creates a port for a database in memory, which writes on this thread and shares its connection
 * with the reader.
 */
export async function memoryPort(): Promise<{ port: WritePort; database: Database }> {
  const database = await openDatabase(inMemory);
  prepareConnection(database);
  layOut(database, inMemory);
  const writer = new Writer(database);
  let keepAlive: NodeJS.Timeout | undefined;
  return {
    database,
    port: {
      async apply(batch) {
        return writer.apply(batch);
      },
      hold(busy) {
        clearInterval(keepAlive);
        keepAlive = busy ? setInterval(() => {}, 2 ** 30) : undefined;
      },
      async close() {
        database.close();
      },
    },
  };
}
