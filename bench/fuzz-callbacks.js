// Sends hostile callbacks, logout tokens, API tokens and headers of a proxy to an app:
//
//   node --expose-gc bench/fuzz-callbacks.js [--count 1000000] [--seed 1]
//
// Prints what the app did, and fails if it answered with an error of the server or a session.
// test/attacks/callbacks.test.ts sends some thousands of the same requests.

import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
});
const count = Number(values.count);
const seed = Number(values.seed);

const outfile = fileURLToPath(new URL('../node_modules/.cache/attack.mjs', import.meta.url));
await build({
  entryPoints: [fileURLToPath(new URL('../test/attacks/callbacks/attack.ts', import.meta.url))],
  outfile,
  bundle: true,
  format: 'esm',
  platform: 'node',
  packages: 'external',
  plugins: [
    {
      name: 'the folder of the package',
      setup({ onResolve }) {
        onResolve({ filter: /\/package-files\.js$/ }, () => ({
          path: new URL('../dist/package-files.js', import.meta.url).href,
          external: true,
        }));
      },
    },
  ],
});
/** @type {typeof import('../test/attacks/callbacks/attack.js')} */
const { attack } = await import(outfile);

console.log(`seed ${seed}, ${count} requests`);
const started = performance.now();
const seconds = () => ((performance.now() - started) / 1000).toFixed(0);
const report = await attack({
  seed,
  count,
  onProgress: (sent) => console.log(`${sent} sent after ${seconds()} s`),
});
console.log(report);
console.log(`${seconds()} s, ${(process.cpuUsage().user / 1e6).toFixed(0)} s of processor time`);
process.exitCode = report.faults.length > 0 ? 1 : 0;
