import { countChanged, TaskflowError } from '../errors.js';
import { type CommandResult, maxByFilter, type Outcome } from '../tasks/commands.js';
import type { Command, CommandFilter, TaskSource } from '../tasks/source.js';
import { isEnded } from '../tasks/states.js';
import { isTaskId } from '../tasks/task-id.js';
import { readTime } from '../tasks/time-text.js';
import { type TaskSummary, taskStatuses } from '../tasks/types.js';
import { actionRow, type Commander, control, type Done } from './action-row.js';
import { taskPages } from './pages.js';
import type { Answer, Input } from './row.js';

/** Bytes of a body with a thousand ids of usual length, or about 500 of the longest ones. */
const bulkBytes = 2 * 1024 * 1024;

const many = { requiredRole: 'operator', tag: 'many' } as const;

/** The routes that give one command for many tasks. */
export const bulkRows = [
  actionRow('POST /bulk', {
    ...many,
    id: 'bulk',
    action: 'bulk',
    summary: 'One command for many tasks, by ids or filter',
    body: 'bulkBody',
    bodyLimit: bulkBytes,
    answer: 'bulkAnswer',
    errors: [409],
    handler: async ({ body, ...commander }) => runBulk(commander, bulkOf(body)),
  }),
  actionRow('POST /bulk-retry', {
    ...many,
    id: 'bulkRetry',
    action: 'bulk_retry',
    summary: 'Retries tasks by their ids',
    body: 'bulkRetryBody',
    bodyLimit: bulkBytes,
    answer: 'bulkAnswer',
    handler: async ({ body: { ids, spread, dryRun = false }, ...commander }) =>
      runBulk(commander, {
        command: { action: 'retry', ids: idsOf(ids), ...spreadOf(spread) },
        dryRun,
      }),
  }),
  actionRow('POST /retry-failed', {
    ...many,
    id: 'retryFailed',
    action: 'retry_failed',
    summary: 'Retries tasks that failed since a time',
    body: 'retryFailedBody',
    answer: 'bulkAnswer',
    errors: [409],
    handler: async ({ body, ...commander }) =>
      runBulk(commander, await retryFailedOf(commander.tasks, body)),
  }),
  actionRow('DELETE /history', {
    ...many,
    id: 'deleteHistory',
    action: 'delete_history',
    summary: 'Deletes tasks that ended before a time',
    query: 'historyQuery',
    answer: 'historyAnswer',
    about: ({ ctx }) => ({ detail: { before: ctx.query.before?.toString().slice(0, 40) ?? '' } }),
    handler: async ({ query, ...commander }) => deleteHistory(commander, query),
  }),
];

/** A command for many tasks, and what the audit records of it. */
interface Bulk {
  command: Command & { action: 'retry' | 'cancel' | 'delete' };
  /** How many tasks match, if the caller has counted them: a command may take fewer. */
  count?: number;
  /** Set if only the newest tasks were searched. */
  scope?: Outcome['scope'];
  dryRun: boolean;
  expect?: number | undefined;
  detail?: Record<string, string>;
}

function bulkOf({ action, ids, filter, expect, dryRun = false, spread }: Input<'bulkBody'>): Bulk {
  if ((ids === undefined) === (filter === undefined))
    throw invalid('Give exactly one of ids and filter.');
  if (spread !== undefined && action !== 'retry')
    throw invalid('spread can be used only with the action retry.');
  if (filter && expect === undefined && !dryRun)
    throw invalid(
      'A command with filter needs expect, the number of tasks that it must match. Get it with ' +
        'dryRun: true.',
    );
  const targets = ids ? { ids: idsOf(ids) } : { filter: filter as CommandFilter };
  const command =
    action === 'retry' ? { action, ...spreadOf(spread), ...targets } : { action, ...targets };
  const detail = {
    does: action,
    ...(filter && { filter: filter === 'all' ? filter : JSON.stringify(filter).slice(0, 500) }),
  };
  return { command, dryRun, expect, detail };
}

async function retryFailedOf(
  tasks: TaskSource,
  { since, name, spread, expect, dryRun = false }: Input<'retryFailedBody'>,
): Promise<Bulk> {
  const { failed, isLimited } = await failedSince(tasks, name, readTime(since, Date.now()) ?? 0);
  const ids = failed.slice(0, maxByFilter).map(({ id }) => id);
  return {
    // In the order in which the tasks failed.
    command: { action: 'retry', ids: ids.reverse(), ...spreadOf(spread) },
    count: failed.length,
    ...(isLimited && { scope: 'window' }),
    dryRun,
    expect,
    detail: { since, ...(name && { function: name }) },
  };
}

/**
 * Returns the tasks that failed at or after a time, the last first: one more than a command takes,
 * and whether older ones may be missing.
 */
async function failedSince(
  tasks: TaskSource,
  name: string | undefined,
  since: number,
): Promise<{ failed: TaskSummary[]; isLimited: boolean }> {
  const failed: TaskSummary[] = [];
  let isLimited = false;
  const pages = taskPages(tasks, { name, status: ['failed'], sort: '-endedAt' });
  for await (const { items, nextCursor, limited } of pages) {
    const late = items.findIndex(({ endedAt }) => Date.parse(endedAt ?? '') < since);
    failed.push(...items.slice(0, late < 0 ? undefined : late));
    isLimited = late < 0 && nextCursor === null && limited === true;
    if (late >= 0 || failed.length > maxByFilter) break;
  }
  return { failed: failed.slice(0, maxByFilter + 1), isLimited };
}

async function deleteHistory(
  commander: Commander,
  query: Input<'historyQuery'>,
): Promise<Done<'historyAnswer'>> {
  const before = readTime(query.before, Date.now()) ?? 0;
  const isDryRun = query.dryRun === 'true';
  let deleted = 0;
  let more = false;
  for await (const ids of endedBefore(commander.tasks, before)) {
    more = deleted >= maxByFilter;
    if (more) break;
    deleted += isDryRun ? ids.length : await deleteTasks(commander, ids);
  }
  const detail = { before: new Date(before).toISOString(), deleted };
  return { answer: { deleted, more }, audit: isDryRun ? null : { detail } };
}

/** Returns how many of the tasks were deleted. */
async function deleteTasks(commander: Commander, ids: readonly string[]): Promise<number> {
  const { results } = await control(commander, { action: 'delete', ids });
  return results.filter(({ ok }) => ok).length;
}

/**
 * Yields the ids of the tasks that ended before a time, in steps. Each state is read by itself,
 * because an engine that keeps the newest tasks in memory finds all the others only in a list of
 * one state.
 */
async function* endedBefore(tasks: TaskSource, before: number): AsyncGenerator<string[], void> {
  for (const status of taskStatuses.filter(isEnded)) {
    for await (const { items } of taskPages(tasks, { status: [status], sort: 'endedAt' })) {
      const ids = items
        .filter(({ endedAt }) => endedAt !== null && Date.parse(endedAt) < before)
        .map(({ id }) => id);
      if (ids.length > 0) yield ids;
      if (ids.length < items.length) break;
    }
  }
}

/** Runs a command. A dry run only counts: it changes nothing and is not recorded in the audit. */
async function runBulk(
  commander: Commander,
  { command, count, scope, dryRun, expect, detail }: Bulk,
): Promise<Done<'bulkAnswer'>> {
  if (count !== undefined && expect !== undefined && count !== expect)
    throw countChanged(count, expect);
  const outcome = await control(commander, command, {
    dryRun,
    ...(count === undefined && expect !== undefined && { expect }),
  });
  const answer = bulkAnswerOf({ ...outcome, ...(scope && { scope }) }, count, dryRun);
  if (dryRun) return { answer, audit: null };
  const tasks = outcome.results.flatMap(({ id, ok }) => (ok ? [id] : []));
  const { dispatched, skipped } = answer;
  return { answer, audit: { tasks, detail: { ...detail, dispatched, skipped } } };
}

function bulkAnswerOf(
  { results, found, scope }: Outcome,
  counted: number | undefined,
  dryRun: boolean,
): Answer<'bulkAnswer'> {
  const dispatched = results.filter(({ ok }) => ok).length;
  const count = found?.count ?? counted ?? results.length;
  return {
    dispatched,
    skipped: results.length - dispatched,
    results: results.map(resultOf),
    count,
    countRelation: found?.relation ?? (count > maxByFilter ? 'gte' : 'eq'),
    ...(scope && { scope }),
    remaining: count - results.length,
    dryRun,
  };
}

function resultOf(result: CommandResult): Answer<'bulkAnswer'>['results'][number] {
  if (result.ok) return { id: result.id, ok: true };
  const { id, code, status } = result;
  const state =
    code === 'TASK_NOT_FOUND'
      ? 'There is no such task.'
      : `The task is ${status ?? 'in another state'}.`;
  const detail = result.detail ? `${state} ${result.detail}` : state;
  return { id, ok: false, code, detail };
}

function spreadOf(spread: number | undefined): { spread?: number } {
  return spread === undefined ? {} : { spread };
}

/** Checks ids and returns each once, because a task that is named twice is retried once. */
function idsOf(ids: readonly string[]): string[] {
  const wrong = ids.find((id) => !isTaskId(id));
  if (wrong !== undefined)
    throw invalid(`ids has ${JSON.stringify(wrong.slice(0, 64))}, which is not the id of a task.`);
  return [...new Set(ids)];
}

function invalid(detail: string): TaskflowError {
  return new TaskflowError('INVALID_INPUT', detail);
}
