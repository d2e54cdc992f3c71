/**
 * Returns the milliseconds of the fastest of several tries. It stops at the first try within the
 * limit. Other programs can make a single try slow, but slow code is slow in every try.
 */
export async function quickest(limit: number, attempt: () => unknown, tries = 8): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let left = tries; left > 0 && least >= limit; left--) {
    const started = performance.now();
    await attempt();
    least = Math.min(least, performance.now() - started);
  }
  return least;
}

/**
 * Returns the least processor time of several tries, in milliseconds and over all threads of this
 * process. Unlike elapsed time, it does not depend on the load of other programs.
 */
export async function leastWork(attempt: () => unknown, tries = 3): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let left = tries; left > 0; left--) {
    const before = process.cpuUsage();
    await attempt();
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, (user + system) / 1000);
  }
  return least;
}

/**
 * Checks something with a short lifetime, and resolves to that lifetime. If the machine was too
 * slow for the check, the next try uses a longer lifetime.
 *
 * @param look Whether the thing existed, given its lifetime in seconds.
 */
export async function seenAlive(look: (life: number) => Promise<boolean>): Promise<number> {
  for (const life of [0.5, 3, 15]) if (await look(life)) return life;
  throw new Error('it was never there, however long its life');
}
