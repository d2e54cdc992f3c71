/**
 * Milliseconds of the quickest of some tries, which stop at the first one within the limit. Other
 * programs on the machine make any single try slow, but what is slow by itself is slow in each.
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
 * Returns the least processor time of some tries, in milliseconds and over all threads of this
 * process. Unlike the time on the clock, it stays the same while other programs keep the machine
 * busy.
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
 * Looks at what lives for a short time only, and resolves to the time it was given. If the machine
 * was too slow to look in time, the next try gives it a longer life.
 *
 * @param look Whether it was there, with this life in seconds.
 */
export async function seenAlive(look: (life: number) => Promise<boolean>): Promise<number> {
  for (const life of [0.5, 3, 15]) if (await look(life)) return life;
  throw new Error('it was never there, however long its life');
}
