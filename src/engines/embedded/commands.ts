import { TaskflowError } from '../../errors.js';
import type { Command, CommandBy, Outcome } from '../../tasks/commands.js';
import {
  allowedStates,
  type BulkDeps,
  commandTasks,
  previewByState,
  type TasksCommand,
} from '../bulk.js';
import { tooManyPauses } from '../paused-queues.js';
import type { Reader } from '../tables/read/reader.js';
import { toSummary } from '../tables/schema/summaries.js';
import type { Clock } from './clock.js';
import type { GroupCommit } from './group-commit.js';
import type { Transitions } from './transitions.js';

type Rerun = Extract<Command, { action: 'rerun' }>;
type QueueCommand = Extract<Command, { queue: string }>;
type ScheduleCommand = Extract<Command, { schedule: string }>;

interface CommandsDeps {
  reader: Reader;
  commits: Pick<GroupCommit, 'submit'>;
  transitions: Transitions;
  clock: Clock;
  /** Called after a command that cancels tasks, because some of them may run in this process. */
  cancelRunning(): void;
  /** Called when the next run of a schedule may have changed. */
  schedulesChanged(): void;
  /** Called when there may be tasks to run. */
  wake(): void;
}

/** Runs the commands of operators on tasks, queues and schedules. */
export class Commands {
  readonly #deps: CommandsDeps;

  constructor(deps: CommandsDeps) {
    this.#deps = deps;
  }

  async control(command: Command, by: CommandBy): Promise<Outcome> {
    if ('queue' in command) return this.#toQueue(command, by);
    if ('schedule' in command) return this.#toSchedule(command, by);
    const { reader, commits, clock, transitions, cancelRunning, wake } = this.#deps;
    const outcome =
      command.action === 'rerun'
        ? await this.#rerun(command)
        : await commandTasks(bulkDeps({ reader, commits, at: clock.now() }), command, by);
    if (by.dryRun) return outcome;
    if (command.action === 'cancel') cancelRunning();
    if (command.action !== 'delete') transitions.ofResults(outcome.results);
    wake();
    return outcome;
  }

  async #rerun({ ids, args }: Rerun): Promise<Outcome> {
    const { commits, clock } = this.#deps;
    const newIds = ids.map(() => clock.newTaskId());
    return {
      results: await commits.submit({ kind: 'rerun', ids, newIds, args, at: clock.now() }),
    };
  }

  async #toQueue({ queue, action }: QueueCommand, { actor, reason }: CommandBy): Promise<Outcome> {
    const { commits, clock, wake } = this.#deps;
    const write = { queue, paused: action === 'pause', at: clock.now(), by: actor, reason };
    const isDone = await commits.submit({ kind: 'pauseQueue', ...write });
    if (!isDone) throw tooManyPauses(queue);
    wake();
    return { results: [], known: true };
  }

  async #toSchedule(
    { schedule: name, action }: ScheduleCommand,
    { actor, reason }: CommandBy,
  ): Promise<Outcome> {
    const { commits, clock, schedulesChanged } = this.#deps;
    if (action === 'remove') return this.#removeSchedule(name);
    if (action === 'run') return this.#runSchedule(name);
    const write = { name, paused: action === 'pause', at: clock.now(), by: actor, reason };
    const known = await commits.submit({ kind: 'pauseSchedule', ...write });
    schedulesChanged();
    return { results: [], known };
  }

  async #removeSchedule(name: string): Promise<Outcome> {
    const { commits, clock } = this.#deps;
    const outcome = await commits.submit({
      kind: 'removeSchedule',
      name,
      at: clock.now(),
    });
    if (outcome === 'defined')
      throw new TaskflowError(
        'SCHEDULE_DEFINED',
        'A running process defines this schedule, or did so less than a minute ago.',
      );
    return { results: [], known: outcome === 'removed' };
  }

  async #runSchedule(name: string): Promise<Outcome> {
    const { commits, clock, transitions, wake } = this.#deps;
    const write = { name, newId: clock.newTaskId(), at: clock.now() };
    const row = await commits.submit({ kind: 'runSchedule', ...write });
    if (!row) return { results: [], known: false };
    transitions.ofRows([row]);
    wake();
    const task = toSummary(row);
    return { results: [{ id: task.id, ok: true, task }], known: true };
  }
}

/** Returns the functions that commands to many tasks use. */
function bulkDeps({
  reader,
  commits,
  at,
}: Pick<CommandsDeps, 'reader' | 'commits'> & { at: number }): BulkDeps {
  const act = (
    { action: kind }: TasksCommand,
    ids: readonly string[],
    delays?: readonly number[],
  ) =>
    kind === 'retry'
      ? commits.submit({ kind, ids, at, ...(delays && { delays }) })
      : commits.submit<typeof kind>({ kind, ids, at });
  return {
    find: (query) => reader.find(query),
    count: (filter) => reader.count(filter),
    preview: async (action, ids, tasks) =>
      previewByState(ids, tasks ?? reader.summaries(ids), allowedStates[action]),
    allowed: (action, status) => allowedStates[action](status),
    act,
  };
}
