// Ends what a benchmark has started, however the benchmark ends.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** @type {Set<() => void>} */
const cleanups = new Set();

/**
 * Registers work for the exit of this process, whether it ends, fails or gets a signal. Returns a
 * function that does the work early. The work is done once.
 * @param {() => void} work It must not wait for anything.
 */
export function atExit(work) {
  const clean = () => {
    if (cleanups.delete(clean)) work();
  };
  cleanups.add(clean);
  return clean;
}

/** Makes a temporary folder. It is removed by `remove`, or when this process exits. */
export function temporaryFolder() {
  const path = mkdtempSync(join(tmpdir(), 'koa-taskflow-bench-'));
  // A process that was killed may write its files for a moment longer.
  return {
    path,
    remove: atExit(() =>
      rmSync(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 }),
    ),
  };
}

process.on('exit', () => {
  // What was started last ends first.
  for (const clean of [...cleanups].reverse()) clean();
});
// A signal ends a process without its exit handlers, so that it would leave its servers running.
for (const [signal, code] of /** @type {const} */ ([
  ['SIGINT', 130],
  ['SIGTERM', 143],
]))
  process.once(signal, () => process.exit(code));
