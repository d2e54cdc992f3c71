// A process of redis.js: `ours` or `plain`, what it does, and the port of its Redis.
import { createServer } from 'node:http';
import { setTimeout } from 'node:timers/promises';
import { answer } from '../lib/child.js';

const [who, role, port, extra] = process.argv.slice(2);
const side = await (who === 'ours' ? import('./ours.js') : import('./plain.js'));
const connection = { host: '127.0.0.1', port: Number(port) };
/** Microseconds on a clock that all processes share. */
const now = () => Number(process.hrtime.bigint() / 1000n);

/** @type {Record<string, () => Promise<Parameters<typeof answer>[0]>>} */
const roles = {
  /** Runs tasks that do nothing. One that has a number was sent at that time. */
  async worker() {
    /** @type {number[]} Milliseconds from sending to start. */
    let waits = [];
    const { close } = await side.run(connection, 50, (sent) => {
      if (sent !== undefined) waits.push((now() - sent) / 1000);
    });
    const takeWaits = () => {
      const taken = waits;
      waits = [];
      return taken;
    };
    return { close, waits: takeWaits };
  },
  /** Runs tasks that never end, as many as `extra` says. */
  async holder() {
    let held = 0;
    const { close } = await side.run(connection, Number(extra), () => {
      held += 1;
      return new Promise(() => undefined);
    });
    return { close, held: () => held };
  },
  async caller() {
    const { one, many, close } = await side.call(connection);
    return {
      close,
      one: () => one(),
      many,
      /**
       * Milliseconds that `amount` tasks take from some callers, each of which waits for its own.
       */
      async callers(/** @type {number} */ callers, /** @type {number} */ amount) {
        const began = performance.now();
        let left = amount;
        const lone = async () => {
          while (left-- > 0) await one();
        };
        await Promise.all(Array.from({ length: callers }, lone));
        return performance.now() - began;
      },
      /** Milliseconds that `amount` tasks take in batches. */
      async batches(/** @type {number} */ size, /** @type {number} */ amount) {
        const began = performance.now();
        for (let left = amount; left > 0; left -= size) await many(Math.min(size, left));
        return performance.now() - began;
      },
      /** Sends `amount` tasks that carry the time, one after another while nothing else runs. */
      async timed(/** @type {number} */ amount) {
        for (let n = 0; n < amount; n++) {
          await one(now());
          await setTimeout(10);
        }
      },
      /** Enqueues so many tasks a second, one at a time. */
      async rate(/** @type {number} */ perSecond, /** @type {number} */ seconds) {
        const began = performance.now();
        for (let n = 0; n < perSecond * seconds; n++) {
          await one();
          await setTimeout(Math.max(0, began + (n * 1000) / perSecond - performance.now()));
        }
      },
    };
  },
  async idle() {
    const { close } = await side.idle(connection);
    return { close };
  },
  async web() {
    const { app, close } = await side.web(connection);
    const server = createServer(app.callback());
    await /** @type {Promise<void>} */ (
      new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
    );
    const url = `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`;
    return { close, url: () => url };
  },
};

const start = roles[role ?? ''];
if (!start) throw new Error(`there is no role '${role}'`);
answer(await start());
