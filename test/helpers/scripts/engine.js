// Opens engines for another process, which calls them with messages.

/**
 * The built files, which the compiler does not need to be there.
 * @param {string} path
 */
const built = (path) => import(String(new URL(`../../../dist/${path}`, import.meta.url)));
/** @typedef {import('../../../src/tasks/engine.js').TaskEngine} TaskEngine */
const { createEmbeddedEngine } =
  /** @type {typeof import('../../../src/engines/embedded/engine.js')} */ (
    await built('engines/embedded/engine.js')
  );
const { loggerOption } = /** @type {typeof import('../../../src/options.js')} */ (
  await built('options.js')
);

/** @type {Map<number, TaskEngine>} */
const engines = new Map();
/** @type {Map<number, AbortController>} */
const watches = new Map();

/**
 * @param {number} call
 * @param {TaskEngine} engine
 * @param {number} after
 */
async function watch(call, engine, after) {
  const controller = new AbortController();
  watches.set(call, controller);
  for await (const changes of engine.watch(after, controller.signal))
    process.send?.({ call, changes });
  process.send?.({ call, value: undefined });
}

/** @param {{ call: number, engine: number, method: string, args: any[] }} message */
async function answer({ call, engine: key, method, args }) {
  if (method === 'open') {
    const engine = createEmbeddedEngine({
      logger: loggerOption('logger', false),
      retention: { age: undefined, count: undefined },
      ...args[0],
    });
    engine.observe({
      wants: () => true,
      tell: (task) => process.send?.({ told: task, engine: key }),
    });
    engines.set(key, engine);
    return process.send?.({ call, value: undefined });
  }
  if (method === 'unwatch') return watches.get(args[0])?.abort();
  const engine = engines.get(key);
  if (!engine) throw new Error('that engine is not open');
  if (method === 'watch') return watch(call, engine, args[0]);
  const value = await /** @type {any} */ (engine)[method](...args);
  process.send?.({ call, value });
}

process.on('message', (/** @type {any} */ message) => {
  answer(message).catch((error) =>
    process.send?.({ call: message.call, error: { code: error.code, message: error.message } }),
  );
});
// The parent process has ended. Engines that were not stopped would keep this process alive.
process.on('disconnect', () => process.exit());
