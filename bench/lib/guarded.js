import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import autocannon from 'autocannon';

const program = fileURLToPath(new URL('./guarded-app.js', import.meta.url));

/**
 * Sends requests on 50 connections to an app with a kind of guard. Resolves to the requests that it
 * answers in a second, and to the microseconds of processor time that each takes.
 * @param {string} kind
 */
export async function guarded(kind, seconds = 3) {
  const app = spawn(process.execPath, [program, kind], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(app.stdout, 'data');
  const { url, headers } = JSON.parse(String(line));
  const send = (/** @type {number} */ duration) =>
    autocannon({ url, headers, connections: 50, duration });
  const used = async () => Number(await (await fetch(new URL('/used', url))).text());
  await send(1);
  const before = await used();
  const { requests, non2xx } = await send(seconds);
  const microseconds = ((await used()) - before) / requests.total;
  app.kill();
  if (non2xx > 0) throw new Error(`${kind}: ${non2xx} answers were errors`);
  return { perSecond: requests.average, microseconds };
}
