import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('./stream-app.js', import.meta.url));

/**
 * Starts a server of streams in a process of its own, and connects clients.
 * @param {string[]} args
 * @param {{ clients: number, reading?: boolean, at?: RegExp }} load `at` finds when an event was
 * made: Unix milliseconds, or a time in ISO 8601.
 */
export async function streamLoad(args, { clients, reading = true, at = /"at":(\d+)/g }) {
  const app = spawn(process.execPath, [program, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = await once(app.stdout, 'data');
  const port = Number(String(line));
  let events = 0;
  /** @type {number[]} Milliseconds on the way. */
  let delays = [];
  const sockets = Array.from({ length: clients }, () => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write('GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n');
    if (!reading) return socket.pause();
    return socket.setEncoding('latin1').on('data', (/** @type {string} */ chunk) => {
      events += chunk.match(/event: ?(tick|tasks)\n/g)?.length ?? 0;
      const now = Date.now();
      for (const [, time = ''] of chunk.matchAll(at))
        delays.push(now - (/^\d+$/.test(time) ? Number(time) : Date.parse(time)));
    });
  });
  /**
   * @param {string} command
   * @returns {Promise<{ cpu: number, rss: number, open: number }>}
   */
  const ask = async (command) => {
    app.stdin.write(`${command}\n`);
    const [answer] = await once(app.stdout, 'data');
    return JSON.parse(String(answer));
  };
  await setTimeout(1000 + clients);
  return {
    /** MiB of memory, and connections, of the server. */
    look: () => ask('look'),
    /**
     * CPU milliseconds of the server for 1,000 events delivered, their number, and the 99th
     * percentile of their way.
     */
    async measure(/** @type {number} */ seconds) {
      await ask('start');
      const before = events;
      delays = [];
      await setTimeout(seconds * 1000);
      const { cpu } = await ask('stop');
      const delivered = events - before;
      if (delivered < clients * seconds * 4)
        throw new Error(`${args[0]}: only ${delivered} events were delivered to ${clients}`);
      delays.sort((a, b) => a - b);
      return {
        cpu: cpu / (delivered / 1000),
        used: cpu / seconds / 10,
        delivered,
        p99: delays[Math.floor(delays.length * 0.99)] ?? 0,
      };
    },
    async end() {
      for (const socket of sockets) socket.destroy();
      app.kill();
      await once(app, 'exit');
    },
  };
}
