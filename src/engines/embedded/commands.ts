import { TaskflowError } from '../../errors.js';
import type { Command, CommandBy, Outcome } from '../../tasks/commands.js';
import type { TaskEngine } from '../../tasks/engine.js';
import { allowedStates, commandTasks, previewByState } from '../bulk.js';
import { tooManyPauses } from '../paused-queues.js';
import { toSummary } from '../tables/schema/summaries.js';
import type { Shared, Tables } from './shared.js';

interface CommandsDeps extends Shared, Tables {
  /** Called after a command that cancels tasks, because some of them may run in this process. */
  cancelRunning(): void;
  /** Called when the next run of a schedule may have changed. */
  schedulesChanged(): void;
}

/** Creates the function that runs the commands of operators on tasks, queues and schedules. */
export function createControl({
  reader,
  commits,
  transitions,
  clock,
  wake,
  cancelRunning,
  schedulesChanged,
}: CommandsDeps): TaskEngine['control'] {
  const toTasks = async (
    command: Exclude<Command, { queue: string } | { schedule: string }>,
    by: CommandBy,
  ): Promise<Outcome> => {
    const at = clock.now();
    if (command.action === 'rerun') {
      const { ids, args } = command;
      const newIds = ids.map(() => clock.newTaskId());
      return { results: await commits.submit({ kind: 'rerun', ids, newIds, args, at }) };
    }
    return commandTasks(
      {
        find: (query) => reader.find(query),
        count: (filter) => reader.count(filter),
        preview: async (action, ids, tasks) =>
          previewByState(ids, tasks ?? reader.summaries(ids), allowedStates[action]),
        allowed: (action, status) => allowedStates[action](status),
        act: ({ action: kind }, ids, delays) =>
          kind === 'retry'
            ? commits.submit({ kind, ids, at, ...(delays && { delays }) })
            : commits.submit({ kind, ids, at }),
      },
      command,
      by,
    );
  };

  const toQueue = async (
    { queue, action }: Extract<Command, { queue: string }>,
    { actor: by, reason }: CommandBy,
  ): Promise<Outcome> => {
    const paused = action === 'pause';
    const at = clock.now();
    if (!(await commits.submit({ kind: 'pauseQueue', queue, paused, by, reason, at })))
      throw tooManyPauses(queue);
    wake();
    return { results: [], known: true };
  };

  const toSchedule = async (
    { schedule: name, action }: Extract<Command, { schedule: string }>,
    { actor: by, reason }: CommandBy,
  ): Promise<Outcome> => {
    const at = clock.now();
    if (action === 'remove') {
      const outcome = await commits.submit({ kind: 'removeSchedule', name, at });
      if (outcome === 'defined')
        throw new TaskflowError(
          'SCHEDULE_DEFINED',
          'A running process defines this schedule, or did so less than a minute ago.',
        );
      return { results: [], known: outcome === 'removed' };
    }
    if (action === 'run') {
      const newId = clock.newTaskId();
      const row = await commits.submit({ kind: 'runSchedule', name, newId, at });
      if (!row) return { results: [], known: false };
      transitions.ofRows([row]);
      wake();
      const task = toSummary(row);
      return { results: [{ id: task.id, ok: true, task }], known: true };
    }
    const paused = action === 'pause';
    const known = await commits.submit({ kind: 'pauseSchedule', name, paused, by, reason, at });
    schedulesChanged();
    return { results: [], known };
  };

  return async (command, by) => {
    if ('queue' in command) return toQueue(command, by);
    if ('schedule' in command) return toSchedule(command, by);
    const outcome = await toTasks(command, by);
    if (by.dryRun) return outcome;
    if (command.action === 'cancel') cancelRunning();
    if (command.action !== 'delete') transitions.ofResults(outcome.results);
    wake();
    return outcome;
  };
}
