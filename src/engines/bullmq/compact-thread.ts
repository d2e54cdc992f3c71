import { parentPort } from 'node:worker_threads';
import { plainError } from './redis-connection.js';
import { type JournalBatch, Replica } from './replica.js';

/** What the thread is told: what to begin with, batches to apply, or where to write the tables. */
export type ToCompactThread = { load: string } | { firstRev: number } | { batches: readonly string[] } | { copyTo: string };
/** Each message is answered. */
export type FromCompactThread = { failed?: string };

const replica = new Replica();

async function act(message: ToCompactThread): Promise<void> {
  if ('load' in message) await replica.loadFile(message.load);
  else if ('firstRev' in message) await replica.load({ firstRev: message.firstRev });
  else if ('copyTo' in message) replica.copyTo(message.copyTo);
  else for (const text of message.batches) replica.apply(JSON.parse(text) as JournalBatch, []);
}

parentPort?.on('message', (message: ToCompactThread) => {
  act(message).then(
    () => parentPort?.postMessage({} satisfies FromCompactThread),
    (error: unknown) => parentPort?.postMessage({ failed: plainError(error).message } satisfies FromCompactThread),
  );
});
