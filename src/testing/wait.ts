/** Resolves to the first truthy answer; rejects after so many seconds. */
export async function waitFor<T>(ask: () => T | Promise<T>, seconds = 20): Promise<Exclude<T, false | null | undefined>> {
  const end = performance.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (answer) return answer as Exclude<T, false | null | undefined>;
    if (performance.now() > end) throw new Error(`not within ${seconds} s: ${ask}`);
    await sleep(0.01);
  }
}

export function sleep(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}
