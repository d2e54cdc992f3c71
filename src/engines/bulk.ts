import { setTimeout as wait } from 'node:timers/promises';
import { countChanged, partlyDone } from '../errors.js';
import { typeError } from '../options.js';
import {
  type Command,
  type CommandBy,
  type CommandResult,
  maxByFilter,
  type Outcome,
} from '../tasks/commands.js';
import type { TaskFilter, TaskPage, TaskQuery } from '../tasks/engine-queries.js';
import { canCancel, canRetry, isEnded } from '../tasks/states.js';
import { type TaskStatus, type TaskSummary, taskStatuses } from '../tasks/types.js';

/**
 * Maximum number of tasks in one commit, and the pause between two commits in milliseconds, so that
 * other writes can run in between.
 */
const step = { tasks: 200, pause: 2 };

/** A command to tasks, by id or by filter. */
export type TasksCommand = Extract<Command, { ids?: unknown } | { filter?: unknown }> & {
  action: 'retry' | 'cancel' | 'delete' | 'run';
};

/** Whether each action is allowed in a state. */
export const allowedStates: Record<TasksCommand['action'], (status: TaskStatus) => boolean> = {
  retry: canRetry,
  cancel: canCancel,
  delete: isEnded,
  run: (status) => status === 'pending',
};

interface Found {
  n: number;
  more: boolean;
  /** `true` if the engine searched only the newest tasks. */
  limited?: boolean;
}

/** The functions of an engine that a command to many tasks uses. */
export interface BulkDeps {
  find(query: TaskQuery): TaskPage | Promise<TaskPage>;
  /** Counts the tasks of a filter. `more`: there may be more than `n`. */
  count(filter: TaskFilter): Found | Promise<Found>;
  /**
   * Returns the result that `act` would have for each id. `tasks` are the tasks of the ids, if the
   * caller has read them.
   */
  preview(
    action: TasksCommand['action'],
    ids: readonly string[],
    tasks?: readonly TaskSummary[],
  ): Promise<readonly CommandResult[]>;
  /**
   * Returns the oldest tasks of a filter, at most `limit`, and the number of all its tasks. For an
   * engine whose `find` covers only the newest tasks. Resolves to `undefined` if the engine needs
   * `find` for this filter.
   */
  oldest?(
    filter: TaskFilter,
    limit: number,
  ): Promise<{ ids: readonly string[]; count: number } | undefined>;
  /** Returns whether the action is allowed in a state. */
  allowed(action: TasksCommand['action'], status: TaskStatus): boolean;
  /** Applies the command to a few tasks. `delays`: the delay of each task in milliseconds. */
  act(
    command: TasksCommand,
    ids: readonly string[],
    delays: readonly number[] | undefined,
  ): Promise<readonly CommandResult[]>;
}

/**
 * Applies a command to tasks, by id or to all tasks of a filter, in several commits.
 *
 * @throws TaskflowError COUNT_CHANGED if the number of tasks differs from `expect`. In that case
 * nothing has been changed.
 */
export async function commandTasks(
  deps: BulkDeps,
  command: TasksCommand,
  { dryRun = false, expect }: CommandBy,
): Promise<Outcome> {
  // A JavaScript caller that uses an engine directly is not protected by types. A missing target
  // must never mean every task.
  if (!hasOneTarget(command))
    throw typeError(
      `command '${command.action}' must have exactly one of: ids (a list), filter (an object ` +
        'of known conditions)',
    );
  if (command.ids) {
    if (expect !== undefined && expect !== command.ids.length)
      throw countChanged(command.ids.length, expect);
    return {
      results: dryRun
        ? await deps.preview(command.action, command.ids)
        : await carryOut(deps, command, command.ids),
    };
  }
  const { ids, tasks, found, scope } = await targetsOf(deps, {
    ...command.filter,
    status: statesOf(deps, command),
  });
  // Apart from its state, something else may forbid the action for a task, such as being part of a
  // flow. A filter skips such tasks.
  const possible = (await deps.preview(command.action, ids, tasks)).filter(({ ok }) => ok);
  const count = found.count - (ids.length - possible.length);
  if (expect !== undefined && expect !== count) throw countChanged(count, expect);
  const chosen = possible.map(({ id }) => id);
  const results = dryRun ? possible : await carryOut(deps, command, chosen);
  return { results, found: { ...found, count }, ...(scope && { scope }) };
}

/** The tasks of a filter. */
interface Targets extends Required<Pick<Outcome, 'found'>>, Pick<Outcome, 'scope'> {
  ids: readonly string[];
  /** The tasks of these ids, if they have been read. */
  tasks?: readonly TaskSummary[];
}

async function targetsOf(
  deps: BulkDeps,
  filter: TaskFilter & { status: TaskStatus[] },
): Promise<Targets> {
  const isPossible = filter.status.length > 0;
  const oldest = isPossible ? await deps.oldest?.(filter, maxByFilter) : undefined;
  if (oldest) return { ids: oldest.ids, found: { count: oldest.count, relation: 'eq' } };
  // The oldest tasks, at least one more than a command changes if there are that many.
  const tasks: TaskSummary[] = [];
  let isLimited = false;
  let after: string | undefined;
  while (isPossible && tasks.length <= maxByFilter) {
    const page = await deps.find({
      ...filter,
      order: 'ascending',
      limit: 500,
      counted: false,
      after,
    });
    tasks.push(...page.items);
    isLimited = page.limited ?? false;
    if (page.next === null) break;
    after = page.next;
    await wait(0);
  }
  const some = tasks.slice(0, maxByFilter);
  const { n, more, limited } =
    tasks.length > maxByFilter
      ? await deps.count(filter)
      : { n: tasks.length, more: isLimited, limited: isLimited };
  return {
    ids: some.map(({ id }) => id),
    tasks: some,
    found: { count: Math.max(n, some.length), relation: more || limited ? 'gte' : 'eq' },
    ...(limited && { scope: 'window' }),
  };
}

/** All conditions that an engine knows. */
const conditions = {
  ...{ status: true, name: true, queue: true, tags: true, fingerprint: true },
  ...{ schedule: true, text: true, from: true, to: true },
} satisfies Record<keyof TaskFilter, true>;

function hasOneTarget({ ids, filter }: { ids?: unknown; filter?: unknown }): boolean {
  return ids === undefined ? isFilter(filter) : filter === undefined && Array.isArray(ids);
}

function isFilter(filter: unknown): filter is TaskFilter {
  return (
    typeof filter === 'object' &&
    filter !== null &&
    Object.keys(filter).every((key) => Object.hasOwn(conditions, key))
  );
}

/** Returns the states of a filter in which the action is allowed. */
function statesOf(deps: BulkDeps, { action, filter }: TasksCommand): TaskStatus[] {
  return taskStatuses.filter(
    (status) => deps.allowed(action, status) && (!filter?.status || filter.status.includes(status)),
  );
}

/**
 * Returns the results that a command would have, decided only by state. `tasks` are the existing
 * tasks of the ids.
 */
export function previewByState(
  ids: readonly string[],
  tasks: readonly TaskSummary[],
  isAllowed: (status: TaskStatus) => boolean,
): CommandResult[] {
  const byId = new Map(tasks.map((task) => [task.id, task]));
  return ids.map((id) => {
    const task = byId.get(id);
    if (!task) return { id, ok: false, code: 'TASK_NOT_FOUND' };
    return isAllowed(task.status)
      ? { id, ok: true, task }
      : { id, ok: false, code: 'TASK_STATE_CONFLICT', status: task.status };
  });
}

async function carryOut(
  deps: BulkDeps,
  command: TasksCommand,
  ids: readonly string[],
): Promise<CommandResult[]> {
  const results: CommandResult[] = [];
  const spread = command.action === 'retry' ? (command.spread ?? 0) * 1000 : 0;
  for (let from = 0; from < ids.length; from += step.tasks) {
    const some = ids.slice(from, from + step.tasks);
    const delays =
      spread > 0 ? some.map((_id, n) => Math.floor((spread * (from + n)) / ids.length)) : undefined;
    try {
      results.push(...(await deps.act(command, some, delays)));
    } catch (error) {
      throw from > 0 ? partlyDone(error) : error;
    }
    if (from + step.tasks < ids.length) await wait(step.pause);
  }
  return results;
}
