import { numberOption, outOfRange, wrongKind, wrongType } from '../options.js';
import { grouped } from '../show-value.js';
import type { EngineReader } from './engine.js';
import type { Aggregates as EngineAggregates } from './engine-queries.js';
import { fitsName, maxNameBytes } from './names.js';
import {
  readDetailQuery,
  readFailureQuery,
  readFindQuery,
  readLinesQuery,
  readRangeQuery,
} from './read-queries.js';
import type { Aggregates, TaskReader } from './source.js';

/**
 * Checks the id of a task. Any text of valid length is accepted, because an unknown id is not an
 * error.
 */
function idArgument(id: unknown): string {
  const max = grouped(maxNameBytes);
  const accepted = `the id of a task: a string of 1 to ${max} bytes`;
  if (typeof id !== 'string') throw wrongType('id', id, accepted);
  if (id === '' || !fitsName(id)) throw outOfRange('id', id, accepted);
  return id;
}

const kinds: readonly (keyof Aggregates)[] = [
  'statsSnapshot',
  'metrics',
  'failures',
  'workers',
  'waits',
  'histograms',
];

/**
 * Returns a reader that checks the queries of callers and converts them to the form of the engine.
 * Calls from code and from the HTTP API both use it, and no other code does this.
 *
 * @param now Returns the time that relative times count from, in Unix milliseconds.
 */
export function checkedReader(engine: EngineReader, now: () => number): TaskReader {
  return {
    async find(asked) {
      const { query, cursors } = await readFindQuery(asked, now());
      const { next, ...page } = await engine.find(query);
      return { ...page, nextCursor: cursors.write(next) };
    },
    get: async (id, asked) => engine.get(idArgument(id), await readDetailQuery(asked)),
    logs: async (id, asked) => engine.logs(idArgument(id), await readLinesQuery(asked)),
    async aggregate(kind, ...[query]) {
      if (!kinds.includes(kind)) {
        const accepted = `one of ${kinds.join(', ')}`;
        throw typeof kind === 'string'
          ? outOfRange('kind', kind, accepted)
          : wrongType('kind', kind, accepted);
      }
      return (await aggregated(engine, kind, query, now())) as never;
    },
    describe: () => engine.describe(),
    watch(after, signal) {
      const from = numberOption('after', after, undefined, { integer: true });
      if (from === undefined) throw wrongType('after', after, 'the number of a change, from 0');
      if (!(signal instanceof AbortSignal)) throw wrongKind('signal', signal, 'an AbortSignal');
      return engine.watch(from, signal);
    },
  };
}

async function aggregated(
  engine: EngineReader,
  kind: keyof Aggregates,
  asked: unknown,
  now: number,
): Promise<unknown> {
  if (kind === 'metrics') return engine.aggregate(kind, await readRangeQuery(asked, now));
  if (kind === 'failures') {
    const { query, cursors } = await readFailureQuery(asked, now);
    const { next, ...page } = await engine.aggregate(kind, query);
    return { ...page, nextCursor: cursors.write(next) };
  }
  if (kind === 'histograms') return engine.aggregate(kind, boundsArgument(asked));
  if (asked !== undefined) throw wrongKind(`query of '${kind}'`, asked, 'left out');
  return engine.aggregate(
    kind as Exclude<keyof EngineAggregates, 'metrics' | 'failures' | 'histograms'>,
  );
}

/** Checks the bounds of a histogram, in seconds. */
function boundsArgument(bounds: unknown): readonly number[] {
  const accepted = 'a list of 1 to 100 numbers of seconds';
  if (!Array.isArray(bounds)) throw wrongType('bounds', bounds, accepted);
  if (bounds.length === 0 || bounds.length > 100) throw outOfRange('bounds', bounds, accepted);
  return bounds.map((bound: unknown, n) => numberOption(`bounds[${n}]`, bound, 0));
}
