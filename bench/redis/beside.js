import { get } from 'node:http';
import { below, printTable } from '../lib/ratio-table.js';
import { inTurn } from '../lib/rounds.js';
import { withSides } from './sides.js';

const perSecond = 200;
/** Seconds of a round. */
const seconds = 6;

/**
 * What a process costs while another one enqueues 200 tasks a second and a third runs them.
 * @param {{ rounds: number }} sizes
 */
export async function stayBeside({ rounds }) {
  await withSides(async (ours, plain) => {
    const [mine, peer] = [await prepare(ours), await prepare(plain)];
    // What a process does once is not what it costs.
    for (const contender of [mine, peer]) await measure(contender);
    const { idle, watched } = await inTurn({ label: 'beside', rounds, mine, peer, measure });
    for (const { stream } of [mine, peer]) stream.close();
    printTable({ mine: 'ours', peer: 'plain BullMQ' }, [
      {
        name: 'CPU of a process that does not read',
        unit: '% of a core',
        ...idle,
        goal: below(2, '%'),
      },
      {
        name: 'CPU of a process whose stream has one client',
        unit: '% of a core',
        ...watched,
        goal: below(6, '%'),
      },
    ]);
  });
}

/** @param {import('./sides.js').Side} side */
async function prepare(side) {
  await side.child('worker');
  const [caller, idle, web] = [
    await side.child('caller'),
    await side.child('idle'),
    await side.child('web'),
  ];
  return {
    side,
    caller,
    idle,
    web,
    stream: watch(`${await web.ask('url')}/tasks/dashboard/stream`),
  };
}

/** @param {Awaited<ReturnType<typeof prepare>>} contender */
async function measure({ side, caller, idle, web, stream }) {
  const cpu = async () => ({
    idle: /** @type {number} */ (await idle.ask('cpu')),
    web: /** @type {number} */ (await web.ask('cpu')),
  });
  const [before, began, seen] = [await cpu(), performance.now(), stream.events()];
  await caller.ask('rate', perSecond, seconds);
  const [after, took] = [await cpu(), performance.now() - began];
  if (stream.events() === seen) throw new Error(`${side.who}: the stream sent no event`);
  return {
    idle: ((after.idle - before.idle) / took) * 100,
    watched: ((after.web - before.web) / took) * 100,
  };
}

/**
 * Reads a stream of events.
 * @param {string} url
 */
function watch(url) {
  let events = 0;
  const request = get(url, { headers: { Accept: 'text/event-stream' } }, (response) => {
    if (response.statusCode !== 200) throw new Error(`${url}: ${response.statusCode}`);
    response.setEncoding('utf8').on('data', (/** @type {string} */ chunk) => {
      events += chunk.split('event:').length - 1;
    });
    response.on('error', () => undefined);
  });
  request.on('error', () => undefined);
  return { events: () => events, close: () => request.destroy() };
}
