// A process of a benchmark that the benchmark asks by messages, and the other end of it.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { atExit } from './at-exit.js';

/** @typedef {Awaited<ReturnType<typeof startChild>>} Child */

/**
 * Starts a program that calls `answer`, and waits until it is ready.
 * @param {URL} program
 * @param {string[]} args
 */
export async function startChild(program, args) {
  const began = performance.now();
  const child = fork(program, args, { execArgv: [] });
  const kill = atExit(() => child.kill('SIGKILL'));
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
  const asked = new Map();
  let asks = 0;
  child.on(
    'message',
    (/** @type {{ ask: number, value?: unknown, error?: string }} */ { ask, value, error }) => {
      const { resolve, reject } = asked.get(ask) ?? {};
      asked.delete(ask);
      if (error === undefined) resolve?.(value);
      else reject?.(new Error(`${args.join(' ')}: ${error}`));
    },
  );
  child.on('exit', (code) => {
    // Ends the benchmark, which might wait for this process for ever.
    if (!child.killed) throw new Error(`${args.join(' ')}: the process has ended with ${code}`);
  });
  /** @type {(name: string, ...values: unknown[]) => Promise<any>} */
  const ask = (name, ...values) =>
    new Promise((resolve, reject) => {
      asks += 1;
      asked.set(asks, { resolve, reject });
      child.send({ ask: asks, name, values });
    });
  const ready = new Promise((resolve, reject) => asked.set(0, { resolve, reject }));
  await ready;
  return {
    /** Milliseconds from the start of the process until it was ready. */
    startTime: performance.now() - began,
    /** Calls a command of the program. */
    ask,
    /** Ends it at once, as a crash does. */
    kill,
    /** Lets it close what it has open. */
    async end() {
      const exited = once(child, 'exit');
      await ask('close');
      kill();
      await exited;
    },
  };
}

/**
 * Answers the process that started this one, which ends with it. Every program has the commands
 * `cpu`, in milliseconds so far, and `rss`, in MiB.
 * @param {Record<string, (...values: any[]) => unknown> & { close(): unknown }} commands
 */
export function answer(commands) {
  /** @type {Record<string, (...values: any[]) => unknown>} */
  const all = {
    cpu() {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1000;
    },
    rss: () => process.memoryUsage.rss() / 2 ** 20,
    ...commands,
  };
  process.on(
    'message',
    async (
      /** @type {{ ask: number, name: string, values: unknown[] }} */ { ask, name, values },
    ) => {
      try {
        process.send?.({ ask, value: await all[name]?.(...values) });
      } catch (error) {
        process.send?.({ ask, error: String(error) });
      }
    },
  );
  // The benchmark has ended, perhaps by SIGKILL, so nothing else would end this process.
  process.on('disconnect', () => process.exit());
  // Ctrl-C reaches all processes of a terminal; the benchmark itself ends this one.
  process.on('SIGINT', () => undefined);
  process.send?.({ ask: 0 });
}
