/** Number of steps that a wait consists of. */
const steps = 5;

/**
 * Calls a function after the given number of milliseconds. Returns a function that cancels the
 * wait.
 *
 * While the event loop is blocked, an answer may arrive that the process has not read yet. A wait
 * therefore consists of several steps, and the process reads between them. A blocked event loop
 * counts as one step only.
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
