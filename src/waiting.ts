/** Number of steps of a wait. */
const steps = 5;

/**
 * Calls a function after the given number of milliseconds. Returns a function that cancels the
 * wait.
 *
 * If the event loop is blocked, an answer may have arrived that this process has not read yet. So a
 * wait consists of steps, between which the process reads, and a block counts as one step.
 */
export function afterWaiting(milliseconds: number, expired: () => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  let last: NodeJS.Immediate | undefined;
  let left = steps;
  const step = (): void => {
    if (left === 0) {
      last = setImmediate(expired);
      return;
    }
    left -= 1;
    timer = setTimeout(step, milliseconds / steps);
  };
  step();
  return () => {
    clearTimeout(timer);
    clearImmediate(last);
  };
}
