import type { z } from 'zod';
import { TaskflowError } from '../errors.js';
import type { Route } from '../http/routes.js';
import { type CommandResult, maxByFilter, type Outcome } from '../tasks/engine.js';
import type { Command, CommandFilter, FindQuery, TaskSource } from '../tasks/source.js';
import { isEnded } from '../tasks/states.js';
import { isTaskId } from '../tasks/task-id.js';
import { readTime } from '../tasks/time-text.js';
import { type TaskSummary, taskStatuses } from '../tasks/types.js';
import { type Acting, type ActionParts, actionRoute, control, readAction, told } from './acting.js';
import type { bulkAnswer } from './answers.js';
import { loadSchemas, readHistoryQuery } from './query.js';

/** Bytes of a body that names a thousand tasks with usual ids, or about 500 with the longest ones. */
const bulkBytes = 2 * 1024 * 1024;

type BulkAnswer = z.output<typeof bulkAnswer>;

/** The routes that do one thing to many tasks. */
export function bulkRoutes(tasks: TaskSource, parts: ActionParts): Route[] {
  return [
    actionRoute(parts, tasks, { method: 'POST', path: '/bulk', action: 'bulk' }, bulk),
    actionRoute(
      parts,
      tasks,
      { method: 'POST', path: '/bulk-retry', action: 'bulk_retry' },
      bulkRetry,
    ),
    actionRoute(
      parts,
      tasks,
      { method: 'POST', path: '/retry-failed', action: 'retry_failed' },
      retryFailed,
    ),
    actionRoute(
      parts,
      tasks,
      { method: 'DELETE', path: '/history', action: 'delete_history' },
      deleteHistory,
    ),
  ];
}

/** How a command to many is given, and what of it goes to the audit. */
interface Wish {
  command: Command & { action: 'retry' | 'cancel' | 'delete' };
  /** Tasks that are asked for, where the caller has counted them: more than the command takes. */
  count?: number;
  /** Set if the caller looked for the tasks among the newest ones only. */
  scope?: Outcome['scope'];
  dryRun: boolean;
  expect?: number | undefined;
  detail: Record<string, string | number | boolean>;
}

async function bulk(acting: Acting): Promise<void> {
  await answer(acting, 'bulk', async () => {
    const { bulkBody } = await loadSchemas();
    const {
      action,
      ids,
      filter,
      expect,
      dryRun = false,
      spread,
    } = await readAction(acting, bulkBody, bulkBytes);
    if ((ids === undefined) === (filter === undefined)) throw invalid('Give either ids or filter.');
    if (spread !== undefined && action !== 'retry') throw invalid('spread belongs to retry.');
    if (filter && expect === undefined && !dryRun)
      throw invalid(
        'expect is required with filter: how many tasks it is to find, as a dryRun counts them.',
      );
    const targets = ids ? { ids: idsOf(ids) } : { filter: filter as CommandFilter };
    const command =
      action === 'retry' ? { action, ...spreadOf(spread), ...targets } : { action, ...targets };
    const detail = {
      does: action,
      ...(filter && { filter: filter === 'all' ? filter : JSON.stringify(filter).slice(0, 500) }),
    };
    return { command, dryRun, expect, detail };
  });
}

async function bulkRetry(acting: Acting): Promise<void> {
  await answer(acting, 'bulk_retry', async () => {
    const { bulkRetryBody } = await loadSchemas();
    const { ids, spread, dryRun = false } = await readAction(acting, bulkRetryBody, bulkBytes);
    return {
      command: { action: 'retry', ids: idsOf(ids), ...spreadOf(spread) },
      dryRun,
      detail: {},
    };
  });
}

async function retryFailed(acting: Acting): Promise<void> {
  await answer(acting, 'retry_failed', async () => {
    const { retryFailedBody } = await loadSchemas();
    const {
      since,
      name,
      spread,
      expect,
      dryRun = false,
    } = await readAction(acting, retryFailedBody);
    const { failed, isLimited } = await failedSince(
      acting.tasks,
      { name, status: ['failed'] },
      readTime(since, Date.now()) ?? 0,
    );
    const ids = failed.slice(0, maxByFilter).map(({ id }) => id);
    // As the failures came, the first one first.
    return {
      command: { action: 'retry', ids: ids.reverse(), ...spreadOf(spread) },
      count: failed.length,
      ...(isLimited && { scope: 'window' }),
      dryRun,
      expect,
      detail: { since, ...(name && { function: name }) },
    };
  });
}

/** Tasks of a filter that ended at or after a time, the last first: one more than a command takes, and whether older ones may be missing. */
async function failedSince(
  tasks: TaskSource,
  filter: FindQuery,
  since: number,
): Promise<{ failed: TaskSummary[]; isLimited: boolean }> {
  const found: TaskSummary[] = [];
  let isLimited = false;
  let cursor: string | undefined;
  while (found.length <= maxByFilter) {
    const page = await tasks.find({
      ...filter,
      sort: '-endedAt',
      limit: 500,
      counted: false,
      cursor,
    });
    const late = page.items.findIndex(({ endedAt }) => Date.parse(endedAt ?? '') < since);
    found.push(...(late < 0 ? page.items : page.items.slice(0, late)));
    if (late >= 0) break;
    if (page.nextCursor === null) {
      isLimited = page.limited === true;
      break;
    }
    cursor = page.nextCursor;
  }
  return { failed: found.slice(0, maxByFilter + 1), isLimited };
}

async function deleteHistory(acting: Acting): Promise<void> {
  const { ctx, tasks } = acting;
  const { deleted, more } = await told(
    acting,
    'delete_history',
    { detail: { before: ctx.query.before?.toString().slice(0, 40) ?? '' } },
    async () => {
      const { before, dryRun } = await readHistoryQuery(ctx.querystring, Date.now());
      if (dryRun) return { ...(await countEndedBefore(tasks, before)), told: null };
      const done = await deleteEndedBefore(acting, tasks, before);
      return {
        ...done,
        told: { detail: { before: new Date(before).toISOString(), deleted: done.deleted } },
      };
    },
  );
  ctx.body = { deleted, more };
}

async function deleteEndedBefore(
  acting: Acting,
  tasks: TaskSource,
  before: number,
): Promise<{ deleted: number; more: boolean }> {
  let deleted = 0;
  for await (const ids of endedBefore(tasks, before)) {
    if (deleted >= maxByFilter) return { deleted, more: true };
    const { results } = await control(acting, { action: 'delete', ids });
    deleted += results.filter(({ ok }) => ok).length;
  }
  return { deleted, more: false };
}

async function countEndedBefore(
  tasks: TaskSource,
  before: number,
): Promise<{ deleted: number; more: boolean }> {
  let deleted = 0;
  for await (const ids of endedBefore(tasks, before)) {
    if (deleted >= maxByFilter) return { deleted, more: true };
    deleted += ids.length;
  }
  return { deleted, more: false };
}

/**
 * Ids of the tasks that ended before a time, in steps. Each state is read by itself, because an engine that keeps the newest tasks
 * in memory finds all the others only in a list of one state.
 */
async function* endedBefore(tasks: TaskSource, before: number): AsyncGenerator<string[], void> {
  for (const status of taskStatuses.filter(isEnded)) {
    let cursor: string | undefined;
    do {
      const { items, nextCursor } = await tasks.find({
        status: [status],
        sort: 'endedAt',
        limit: 500,
        counted: false,
        cursor,
      });
      const ids = items
        .filter(({ endedAt }) => endedAt !== null && Date.parse(endedAt) < before)
        .map(({ id }) => id);
      if (ids.length > 0) yield ids;
      cursor = ids.length < items.length ? undefined : (nextCursor ?? undefined);
    } while (cursor !== undefined);
  }
}

/** Does what is wished, or counts it, which changes nothing and leaves no row in the audit. */
async function answer(acting: Acting, action: string, read: () => Promise<Wish>): Promise<void> {
  const { body } = await told(acting, action, {}, async () => {
    const { command, count, scope, dryRun, expect, detail } = await read();
    if (count !== undefined && expect !== undefined && count !== expect)
      throw new TaskflowError(
        'COUNT_CHANGED',
        `The number of matching tasks is now ${count}, not ${expect}. Nothing was done.`,
      );
    const outcome = await control(acting, command, {
      dryRun,
      ...(count === undefined && expect !== undefined && { expect }),
    });
    const body = bulkAnswerOf({ ...outcome, ...(scope && { scope }) }, count, dryRun);
    if (dryRun) return { body, told: null };
    const tasks = outcome.results.flatMap(({ id, ok }) => (ok ? [id] : []));
    return {
      body,
      told: { tasks, detail: { ...detail, dispatched: body.dispatched, skipped: body.skipped } },
    };
  });
  acting.ctx.body = body;
}

function bulkAnswerOf(
  { results, found, scope }: Outcome,
  counted: number | undefined,
  dryRun: boolean,
): BulkAnswer {
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

function resultOf(result: CommandResult): BulkAnswer['results'][number] {
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

/** Each once: a task that is named twice is not retried twice. */
function idsOf(ids: readonly string[]): string[] {
  const wrong = ids.find((id) => !isTaskId(id));
  if (wrong !== undefined)
    throw invalid(`ids has ${JSON.stringify(wrong.slice(0, 64))}, which is not the id of a task.`);
  return [...new Set(ids)];
}

function invalid(detail: string): TaskflowError {
  return new TaskflowError('INVALID_INPUT', detail);
}
