import { runInEmptyContext } from '../empty-context.js';
import { LoggedNames } from '../logged-names.js';
import type { Logger } from '../options.js';
import { type CallDeps, graceOf, HandlerCall } from './handler-call.js';
import type { TaskRoute } from './new-task.js';
import { retryDecision } from './retrying.js';
import type { ClaimedTask, TaskRunner } from './task-runner.js';

type RunnerDeps = Omit<CallDeps, 'decide' | 'outOfRange'> & {
  /** Maximum number of attempts at the same time. */
  concurrency: number;
};

/** The runner of an engine. Call `changed` when a handler was added. */
export interface HandlerRunner extends TaskRunner {
  changed(): void;
}

/** Returns a runner that calls the handlers of the definitions. */
export function handlerRunner({ concurrency, ...shared }: RunnerDeps): HandlerRunner {
  const { definitions, logger } = shared;
  let listener = (): void => {};
  let routes: readonly TaskRoute[] | undefined;
  let names: ReadonlyMap<string, number | undefined> | undefined;
  const routesHere = (): readonly TaskRoute[] => {
    routes ??= [...definitions.values()]
      .filter(({ handler }) => handler)
      .map(({ name, settings: { queue, priority, concurrency } }) => ({
        name,
        queue,
        priority,
        concurrency,
      }));
    return routes;
  };
  const deps: CallDeps = {
    ...shared,
    decide: retryDecision(logger),
    outOfRange: progressWarnings(logger),
  };

  return {
    concurrency,
    names() {
      names ??= new Map(routesHere().map(({ name, concurrency }) => [name, concurrency]));
      return names;
    },
    routes: routesHere,
    cancelGrace: (name) => graceOf(definitions.get(name)),
    onChange: (added) => {
      listener = added;
    },
    changed: () => {
      routes = names = undefined;
      listener();
    },
    run: (task, io) => runInEmptyContext(() => new HandlerCall(deps, task, io)),
  };
}

/**
 * Returns a function that warns once per task name about a progress outside 0 to 1. A handler that
 * counts to 100 would otherwise look finished from its second step.
 */
function progressWarnings(logger: Logger): (task: ClaimedTask, progress: number) => void {
  const warned = new LoggedNames();
  return ({ id, name }, value) => {
    if (warned.add(name))
      logger.warn({ taskId: id, task: name, value }, 'taskProgress takes a number from 0 to 1');
  };
}
