// Runs the writer thread and ends it at the point that its parent selects. See dying-thread.js.
import { parentPort, workerData } from 'node:worker_threads';

const { file, order, points } = workerData;
/** @param {string} point */
const isOrdered = (point) =>
  Atomics.compareExchange(order, 0, points.indexOf(point) + 1, 0) === points.indexOf(point) + 1;
// An error in JavaScript ends the thread. `terminate()` could stop it in a call of the driver,
// which would abort the process.
/** @param {string} point */
const endAt = (point) => void (isOrdered(point) && process.exit(1));

/** @type {{ Writer: { prototype: { apply(batch: unknown): unknown } } }} */
const { Writer } = await import(new URL('../tables/write/writer.js', file).href);
const { apply } = Writer.prototype;
Writer.prototype.apply = function (/** @type {unknown} */ batch) {
  endAt('before a transaction');
  const result = apply.call(this, batch);
  endAt('after a transaction');
  return result;
};

/** @type {{ Counters: { prototype: { close(): void } } }} */
const { Counters } = await import(new URL('../tables/write/counters.js', file).href);
const { close } = Counters.prototype;
Counters.prototype.close = function () {
  close.call(this);
  endAt('before a commit');
};

if (parentPort) {
  const post = parentPort.postMessage.bind(parentPort);
  parentPort.postMessage = (/** @type {unknown} */ message) => {
    if (isOrdered('at an answer')) throw new Error('cannot answer');
    post(message);
  };
}

await import(file);
