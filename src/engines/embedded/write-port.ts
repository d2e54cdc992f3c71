import type { Worker } from 'node:worker_threads';
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
import { startThread } from './thread-guard.js';

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
export type FromThread = { ready: true } | { failed: string } | Answer;

/** The answer to a batch. */
type Answer = { result: string | BatchResult } | { unanswered: string };

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
 * Opens the file on a separate thread, which answers batches in order. If the thread ends, it is
 * restarted. Batches without an answer may or may not have been stored. Batches that are sent
 * before the new thread is ready are rejected.
 *
 * @throws TaskflowError ENGINE_UNAVAILABLE if the file cannot be used.
 */
export async function threadPort(path: string, logger: Logger): Promise<WritePort> {
  const state = new Background(logger, 'the thread that writes the task database');
  let current: Worker | undefined;
  /** The callers whose batches have no answer yet, in the order of sending. */
  const waiting: Waiting[] = [];
  let restart: NodeJS.Timeout | undefined;
  let held = false;
  let isClosed = false;

  const start = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const thread = startThread(threadFile, { path });
      let cause: unknown;
      thread.on('message', (message: FromThread) => {
        if ('failed' in message) reject(unusable(path, message.failed));
        else if ('ready' in message) {
          current = thread;
          keepAlive();
          resolve();
        } else answered(message);
      });
      // An answer that cannot be read still answers its batch.
      thread.on('messageerror', (error) => answered({ unanswered: error.message }));
      // The event `exit` follows.
      thread.on('error', (error) => {
        cause = error;
      });
      thread.on('exit', () => {
        reject(unusable(path, 'the thread that writes it ended', cause));
        if (current === thread) hasEnded(cause);
      });
    });

  const answered = (message: Answer): void => {
    const first = waiting.shift();
    keepAlive();
    if ('unanswered' in message) {
      const why =
        `the thread that writes the task database gave no answer (${message.unanswered}). ` +
        `${unknown}`;
      first?.reject(new TaskflowError('ENGINE_UNAVAILABLE', why, { maybeDone: true }));
    } else {
      const { result } = message;
      first?.resolve(typeof result === 'string' ? JSON.parse(result) : result);
    }
  };

  const hasEnded = (cause: unknown): void => {
    current = undefined;
    const error = isClosed ? closed() : unanswered('ended', { maybeDone: true, cause });
    for (const { reject } of waiting.splice(0)) reject(error);
    if (isClosed) return;
    state.failed(cause ?? new Error('it ended without an error'));
    restartIn(restartDelay.first);
  };

  const restartIn = (delay: number): void => {
    restart = setTimeout(() => {
      starting = start();
      starting.then(
        () => state.worked(),
        () => {
          if (!isClosed) restartIn(Math.min(delay * 2, restartDelay.most));
        },
      );
    }, delay);
    if (!held) restart.unref();
  };

  const keepAlive = (): void => {
    if (held || waiting.length > 0) current?.ref();
    else current?.unref();
  };

  let starting = start();
  await starting;
  return {
    // Not async: if a batch cannot be sent, this throws before a caller waits for the answer.
    apply(batch) {
      if (!current)
        return Promise.reject(
          isClosed ? closed() : unanswered('is being started again', { maybeDone: false }),
        );
      const weight = batch.writes.reduce((sum, write) => sum + weightOf(write), 0);
      current.postMessage(packed(batch, weight));
      current.ref();
      return new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
      });
    },

    hold(busy) {
      held = busy;
      keepAlive();
    },

    async close() {
      isClosed = true;
      clearTimeout(restart);
      await starting.catch(() => undefined);
      const thread = current;
      if (!thread) return;
      thread.ref();
      const ended = new Promise<void>((resolve) => thread.once('exit', () => resolve()));
      thread.postMessage('close');
      await ended;
    },
  };
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
