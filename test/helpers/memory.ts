/** Counts the objects that a full garbage collection leaves in memory. Needs `--expose-gc`. */
export async function stillInMemory(objects: readonly WeakRef<object>[]): Promise<number> {
  if (!globalThis.gc) throw new Error('run the tests with --expose-gc');
  // A WeakRef keeps its object alive until the end of the turn in which it was created or read.
  await new Promise((resolve) => setTimeout(resolve, 10));
  globalThis.gc();
  return objects.filter((object) => object.deref() !== undefined).length;
}
