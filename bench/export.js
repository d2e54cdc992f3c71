// A million tasks taken away as NDJSON: how long it takes, and what it costs in memory.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeHistory } from './lib/history.js';

const history = Number(process.env.HISTORY ?? 1_000_000);
const folder = mkdtempSync(join(tmpdir(), 'koa-taskflow-export-'));
const database = join(folder, 'tasks.db');
await makeHistory(database, history, 0);

const app = spawn(
  process.execPath,
  [fileURLToPath(new URL('./lib/export-app.js', import.meta.url)), database],
  {
    stdio: ['pipe', 'pipe', 'inherit'],
  },
);
const said = async () => Number(String((await once(app.stdout, 'data'))[0]));
const url = `http://127.0.0.1:${await said()}/tasks`;
for (let n = 0; n < 300; n++) await (await fetch(`${url}?limit=50`)).text();
app.stdin.write('warm\n');
await said();

const started = performance.now();
const { body } = await fetch(`${url}/export?format=ndjson`);
if (!body) throw new Error('no answer');
let rows = 0;
for await (const chunk of body) for (const byte of chunk) if (byte === 10) rows += 1;
const seconds = (performance.now() - started) / 1000;
if (rows < history) throw new Error(`${rows} rows of ${history}`);
app.stdin.write('grown\n');
const grown = await said();

app.kill();
rmSync(folder, { recursive: true, force: true });
console.log(
  `\nExport of ${rows.toLocaleString('en')} tasks as NDJSON: ${seconds.toFixed(1)} s, memory + ${grown.toFixed(0)} MiB at most.`,
);
