import type { NewTask } from '../../../tasks/new-task.js';
import type { Ask } from '../connection/redis-calls.js';
import type { CountedQueues } from '../read/marked-jobs.js';
import type { WindowModel } from '../read/window-model.js';
import type { EndCalls } from '../run/task-facts.js';
import type { JobSteps } from './job-steps.js';

/** What the commands on tasks and queues use. */
export interface CommandDeps extends CountedQueues, EndCalls {
  steps: JobSteps;
  ask: Ask;
  /** Opens the window, for filters that BullMQ's sets cannot answer. */
  reader(): Promise<WindowModel>;
  enqueue(tasks: readonly NewTask[]): Promise<readonly string[]>;
  /** Cancels the attempts of these jobs that this process runs. */
  cancelHere(members: ReadonlySet<string>): void;
}
