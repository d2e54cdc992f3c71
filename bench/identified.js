// What strategies that identify each request cost a guarded request, in processor time of the app,
// beside a session in a cookie without them. The limit is 1.15 times as much.
//
//   node bench/identified.js [--rounds 5] [--seconds 3]
import { parseArgs } from 'node:util';
import { guarded } from './lib/guarded.js';
import { compare } from './lib/rounds.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
  },
});
/** @param {string} kind */
const microseconds = async (kind) => (await guarded(kind, Number(values.seconds))).microseconds;

const rows = /** @type {const} */ ([
  ['cookie beside trustedHeader', 'proxy-cookie'],
  ['cookie beside apiTokens', 'tokens-cookie'],
  ['user of trustedHeader', 'proxy'],
  ['token of apiTokens', 'tokens'],
]);
for (const [row, kind] of rows)
  await compare(`guarded request, ${row}`, {
    unit: 'µs',
    ours: () => microseconds(kind),
    peer: () => microseconds('taskflow-cookie'),
    peerName: 'cookie alone',
    rounds: Number(values.rounds),
    lessIsBetter: true,
  });
