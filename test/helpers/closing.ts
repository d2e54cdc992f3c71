import { afterEach } from '@jest/globals';

/** A resource that is closed after a test. */
interface Closable {
  close(): Promise<unknown>;
}

/** Closes the kept resources after each test, the last one first. */
export function closeAfterEach(): <T extends Closable>(one: T) => T {
  const open: Closable[] = [];
  afterEach(async () => {
    for (const one of open.splice(0).reverse()) await one.close();
  });
  return (one) => {
    open.push(one);
    return one;
  };
}
