/**
 * Seconds within which a signal must have arrived. It usually takes some milliseconds; a machine
 * with other load takes longer, and a lost signal takes the tens of seconds of the next retry or
 * timeout.
 */
export const promptly = 10;

/**
 * Milliseconds that a page waits for an element: an upper bound for a machine with much other load.
 */
export const pageTimeout = 60_000;

export { eventually, gate, sleep, waitFor } from '../../src/testing/wait.js';

/** Blocks the event loop for so many milliseconds, as long work in a handler does. */
export function block(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
