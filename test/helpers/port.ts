import { memoryPromises } from '../../src/engines/embedded/promises.js';
import { createTableEngine, type TableEngine } from '../../src/engines/embedded/table-engine.js';
import { memoryPort, threadPort, type WritePort } from '../../src/engines/embedded/write-port.js';
import { openDatabase, prepareConnection } from '../../src/engines/tables/schema/database.js';
import type { Batch, BatchResult } from '../../src/engines/tables/write/batch.js';
import { type Logger, loggerOption } from '../../src/options.js';

/** A function that a test runs instead of a commit. `commit` is the real one. */
export type Commit = (
  batch: Batch,
  commit: (batch: Batch) => Promise<BatchResult>,
) => Promise<BatchResult>;

/**
 * Makes an embedded engine, in memory or on a file. The test can delay its commits or let them
 * fail.
 */
export function engineWithCommits(
  apply: Commit,
  { path, logger }: { path?: string; logger?: Logger } = {},
): TableEngine {
  const wrapped = (port: WritePort): WritePort => ({
    apply: (batch) => apply(batch, (sent) => port.apply(sent)),
    hold: (busy) => port.hold(busy),
    close: () => port.close(),
  });
  return createTableEngine({
    storage: {
      engine: 'embedded',
      promises: memoryPromises,
      async open() {
        if (path === undefined) {
          const { port, database } = await memoryPort();
          return { port: wrapped(port), database, close: () => port.close() };
        }
        const port = await threadPort(path, loggerOption('logger', logger ?? false));
        const database = await openDatabase(path);
        prepareConnection(database);
        return {
          port: wrapped(port),
          database,
          async close() {
            database.close();
            await port.close();
          },
        };
      },
    },
    logger: loggerOption('logger', logger ?? false),
    retention: { age: undefined, count: undefined },
  });
}
