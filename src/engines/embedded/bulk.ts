import { setTimeout as wait } from 'node:timers/promises';
import { TaskflowError } from '../../errors.js';
import { type Command, type CommandBy, type CommandResult, mostByFilter, type Outcome, type TaskFilter } from '../../tasks/engine.js';
import { canCancel, canRetry, isEnded } from '../../tasks/states.js';
import { type TaskStatus, type TaskSummary, taskStatuses } from '../../tasks/types.js';
import type { GroupCommit } from './group-commit.js';
import type { Reader } from './reader.js';
import type { Write } from './write.js';

/** Tasks of one commit, and milliseconds between two, so that others come in between. */
const step = { tasks: 200, pause: 2 };

type TasksCommand = Extract<Command, { ids?: unknown } | { filter?: unknown }> & { action: 'retry' | 'cancel' | 'delete' | 'run' };

interface Parts {
  reader: Reader;
  commits: Pick<GroupCommit, 'submit'>;
  at: number;
}

/** A rerun as it is written, with the ids of the new tasks. */
export function rerunOf(
  { action, ids, args }: Extract<Command, { action: 'rerun' }>,
  newId: () => string,
  at: number,
): Extract<Write, { kind: 'rerun' }> {
  return { kind: action, ids, newIds: ids.map(newId), args, at };
}

/** Where each action can be done. */
const allowed: Record<TasksCommand['action'], (status: TaskStatus) => boolean> = {
  retry: canRetry,
  cancel: canCancel,
  delete: isEnded,
  run: (status) => status === 'pending',
};

/**
 * Does one thing to tasks, by id or to all that a filter finds, in steps.
 *
 * @throws TaskflowError COUNT_CHANGED where another number is found than was expected; nothing has been done then.
 */
export async function commandTasks(parts: Parts, command: TasksCommand, { dryRun = false, expect }: CommandBy): Promise<Outcome> {
  if (command.ids) {
    if (expect !== undefined && expect !== command.ids.length) throw countChanged(command.ids.length, expect);
    return { results: dryRun ? preview(parts, command.action, command.ids) : await carryOut(parts, command, command.ids) };
  }
  const filter = { ...command.filter, status: statesOf(command) };
  const tasks = await find(parts.reader, filter);
  const found = foundOf(parts.reader, filter, tasks.length);
  if (expect !== undefined && expect !== found.count) throw countChanged(found.count, expect);
  const some = tasks.slice(0, mostByFilter);
  if (dryRun) return { results: some.map((task) => ({ id: task.id, ok: true, task })), found };
  const ids = some.map(({ id }) => id);
  return { results: await carryOut(parts, command, ids), found };
}

/** The states of a filter that allow the action. */
function statesOf({ action, filter }: TasksCommand): TaskStatus[] {
  return taskStatuses.filter((status) => allowed[action](status) && (!filter?.status || filter.status.includes(status)));
}

/** The oldest tasks of a filter, one more than a command is done to. */
async function find(reader: Reader, filter: TaskFilter & { status: TaskStatus[] }): Promise<TaskSummary[]> {
  const found: TaskSummary[] = [];
  let after: string | undefined;
  while (filter.status.length > 0 && found.length <= mostByFilter) {
    const { items, next } = reader.find({ ...filter, order: 'ascending', limit: 500, counted: false, after });
    found.push(...items);
    if (next === null) break;
    after = next;
    await wait(0);
  }
  return found;
}

function foundOf(reader: Reader, filter: TaskFilter, collected: number): { count: number; relation: 'eq' | 'gte' } {
  if (collected <= mostByFilter) return { count: collected, relation: 'eq' };
  const { n, more } = reader.count(filter);
  return { count: Math.max(n, mostByFilter), relation: more ? 'gte' : 'eq' };
}

function preview({ reader }: Parts, action: TasksCommand['action'], ids: readonly string[]): CommandResult[] {
  const byId = new Map(reader.summaries(ids).map((task) => [task.id, task]));
  return ids.map((id) => {
    const task = byId.get(id);
    if (!task) return { id, ok: false, code: 'TASK_NOT_FOUND' };
    return allowed[action](task.status) ? { id, ok: true, task } : { id, ok: false, code: 'TASK_STATE_CONFLICT', status: task.status };
  });
}

async function carryOut({ commits, at }: Parts, command: TasksCommand, ids: readonly string[]): Promise<CommandResult[]> {
  const results: CommandResult[] = [];
  const spread = command.action === 'retry' ? (command.spread ?? 0) * 1000 : 0;
  for (let from = 0; from < ids.length; from += step.tasks) {
    const some = ids.slice(from, from + step.tasks);
    const delays = spread > 0 ? { delays: some.map((_id, n) => Math.floor((spread * (from + n)) / ids.length)) } : {};
    results.push(...(await commits.submit<'retry'>({ kind: command.action as 'retry', ids: some, at, ...delays })));
    if (from + step.tasks < ids.length) await wait(step.pause);
  }
  return results;
}

function countChanged(count: number, expected: number): TaskflowError {
  return new TaskflowError('COUNT_CHANGED', `There are ${count} such tasks now, not ${expected}; nothing was done.`);
}
