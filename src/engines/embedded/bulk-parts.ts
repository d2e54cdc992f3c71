import type { Command } from '../../tasks/engine.js';
import { allowedStates, type BulkParts, previewByState } from '../bulk.js';
import type { Reader } from '../tables/read/reader.js';
import type { WriteOf } from '../tables/write/batch.js';
import type { GroupCommit } from './group-commit.js';

/** A rerun as it is written, with the ids of the new tasks. */
export function rerunOf({ action, ids, args }: Extract<Command, { action: 'rerun' }>, newId: () => string, at: number): WriteOf<'rerun'> {
  return { kind: action, ids, newIds: ids.map(newId), args, at };
}

/** The parts of the embedded engine. */
export function embeddedParts(reader: Reader, commits: Pick<GroupCommit, 'submit'>, at: number): BulkParts {
  return {
    find: (query) => reader.find(query),
    count: (filter) => reader.count(filter),
    preview: async (action, ids, tasks) => previewByState(ids, tasks ?? reader.summaries(ids), allowedStates[action]),
    allowed: (action, status) => allowedStates[action](status),
    act: ({ action }, ids, delays) => commits.submit<'retry'>({ kind: action as 'retry', ids, at, ...(delays && { delays }) }),
  };
}
