/**
 * The seconds within which a signal must arrive. It usually takes some milliseconds, and more on a
 * busy machine. A lost signal takes the tens of seconds of the next retry or timeout.
 */
export const promptly = 10;

/** The milliseconds that a page waits for an element, as an upper bound for a busy machine. */
export const pageTimeout = 60_000;

export { eventually, gate, sleep, waitFor } from '../../src/testing/wait.js';

/** Blocks the event loop for a number of milliseconds, as a handler with long work does. */
export function block(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
