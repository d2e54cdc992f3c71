import { LoggedNames } from '../logged-names.js';
import { checkSeconds, durationWarnings, type Logger } from '../options.js';
import { kindOf } from '../show-value.js';
import { thrownForLog } from './describe-error.js';
import type { Settings } from './task-options.js';
import type { ClaimedTask } from './task-runner.js';

/**
 * Decides whether a failed attempt is retried. Returns the delay in seconds, or `undefined` for no
 * retry.
 */
export type RetryDecision = (
  settings: Settings,
  task: ClaimedTask,
  thrown: unknown,
) => number | undefined;

/**
 * Returns a decision that uses the options of each task. The functions `retryOn` and `backoff`
 * belong to the app. Each error that they throw is logged. An answer of the wrong type is logged
 * once per task name.
 */
export function retryDecision(logger: Logger): RetryDecision {
  const warned = new LoggedNames();
  const warnDuration = durationWarnings(logger);

  const wrongAnswer = (
    { id, name }: ClaimedTask,
    option: 'retryOn' | 'backoff',
    answer: unknown,
    message: string,
  ): void => {
    ignoreRejection(answer);
    if (warned.add(`${option} ${name}`))
      logger.warn({ taskId: id, task: name, option, returned: kindOf(answer) }, message);
  };
  const failed = ({ id, name }: ClaimedTask, thrown: unknown, message: string): void =>
    logger.error({ err: thrownForLog(thrown), taskId: id, task: name }, message);

  const isWorthIt = ({ retryOn }: Settings, task: ClaimedTask, thrown: unknown): boolean => {
    if (!retryOn) return true;
    try {
      const answer: unknown = retryOn(thrown);
      if (typeof answer === 'boolean') return answer;
      wrongAnswer(
        task,
        'retryOn',
        answer,
        'retryOn did not return true or false, so the task is not retried',
      );
    } catch (error) {
      failed(task, error, 'retryOn threw an error, so the task is not retried');
    }
    return false;
  };

  const waitOf = ({ backoff, delay }: Settings, task: ClaimedTask, thrown: unknown): number => {
    if (typeof backoff === 'number') return delay * backoff ** (task.tryNumber - 1);
    try {
      const answer: unknown = backoff(task.tryNumber, thrown);
      if (typeof answer === 'number' && answer >= 0) {
        checkSeconds(`backoff of task '${task.name}'`, answer, warnDuration);
        return answer;
      }
      wrongAnswer(
        task,
        'backoff',
        answer,
        'backoff did not return a number of seconds, so the option delay is used',
      );
    } catch (error) {
      failed(task, error, 'backoff threw an error, so the option delay is used');
    }
    return delay;
  };

  return (settings, task, thrown) => {
    if (task.tryNumber > settings.retries || !isWorthIt(settings, task, thrown)) return undefined;
    return (
      Math.min(waitOf(settings, task, thrown), settings.maxDelay) *
      (1 - settings.jitter * Math.random())
    );
  };
}

/** If an async function was given by mistake, its rejected promise must not end the process. */
function ignoreRejection(answer: unknown): void {
  if (answer instanceof Promise) answer.catch(() => undefined);
}
