import { afterEach } from '@jest/globals';

/** Something that is to be closed when a test has ended. */
interface Closable {
  close(): Promise<unknown>;
}

/** What is kept is closed after each test, the last opened first. */
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
