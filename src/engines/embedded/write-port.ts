import { Worker } from 'node:worker_threads';
import { TaskflowError } from '../../errors.js';
import { packageFile } from '../../package-files.js';
import { type Database, inMemory, openDatabase, unusable } from './database.js';
import { layOut, prepareConnection } from './layout.js';
import type { Batch, BatchResult } from './write.js';
import { Writer } from './writer.js';

/** Where batches are written: on a thread of their own for a file, so that a slow disk never stalls the app. */
export interface WritePort {
  apply(batch: Batch): Promise<BatchResult>;
  /** Keeps the process alive while it is `true`. */
  hold(busy: boolean): void;
  close(): Promise<void>;
}

/** Messages from the writing thread. */
export type FromThread = { ready: true } | { failed: string } | { result: string };

const threadFile = packageFile('dist/engines/embedded/write-thread.js');

/** Opens the file on a thread of its own. Rejects with ENGINE_UNAVAILABLE where it cannot be used. */
export async function threadPort(path: string): Promise<WritePort> {
  // Without the flags of the process: a loader or an --input-type of the app is nothing to this file.
  const thread = new Worker(threadFile, { workerData: { path }, execArgv: [] });
  const waiting: { resolve(result: BatchResult): void; reject(error: Error): void }[] = [];
  let broken: TaskflowError | undefined;
  let held = false;

  const fail = (error: TaskflowError): void => {
    broken ??= error;
    for (const { reject } of waiting.splice(0)) reject(broken);
  };

  await new Promise<void>((resolve, reject) => {
    thread.on('message', (message: FromThread) => {
      if ('ready' in message) return resolve();
      if ('failed' in message) return reject(unusable(path, message.failed));
      const first = waiting.shift();
      if (!held && waiting.length === 0) thread.unref();
      first?.resolve(JSON.parse(message.result) as BatchResult);
    });
    thread.on('error', (cause) => {
      fail(new TaskflowError('ENGINE_UNAVAILABLE', 'the writing thread of the task database failed', { cause }));
      reject(cause);
    });
    thread.on('exit', () => {
      fail(new TaskflowError('ENGINE_UNAVAILABLE', 'the task database is closed'));
      reject(unusable(path, 'the thread that writes it ended'));
    });
  });
  thread.unref();

  return {
    apply(batch) {
      if (broken) return Promise.reject(broken);
      thread.ref();
      return new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
        thread.postMessage(JSON.stringify(batch));
      });
    },
    hold(busy) {
      held = busy;
      if (busy) thread.ref();
      else thread.unref();
    },
    async close() {
      thread.ref();
      const ended = new Promise<void>((resolve) => thread.once('exit', () => resolve()));
      thread.postMessage('close');
      await ended;
    },
  };
}

/** Writes on this thread, on a connection that the reader shares: what a database in memory needs. */
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
