import type { Context, Middleware, Next } from 'koa';
import { TaskflowError } from '../errors.js';
import { requireKoa } from '../http/koa-only.js';
import { sendError } from '../http/problem.js';
import { loggerOption, wrongKind } from '../options.js';
import type { Enqueuer } from '../tasks/definition.js';
import type { NewTask } from '../tasks/new-task.js';
import { aTaskManager } from './options.js';

/** Collects the tasks of one request. They are stored if and only if the request succeeds. */
export interface BackgroundTasks {
  /**
   * Adds a task to the request and returns its id at once. All tasks of a request are committed
   * together, after its handlers ended without an error and before the answer is sent.
   *
   * @throws TypeError for arguments that JSON would change.
   * @throws Error after the request has been answered.
   */
  add<A extends readonly unknown[]>(task: Enqueuer<A>, ...args: A): string;
}

/** What {@link backgroundTasks} adds to the context, for the types of a router. */
export interface BackgroundTasksContext {
  backgroundTasks: BackgroundTasks;
}

/** The side of a TaskManager that this middleware needs. */
interface Enqueues {
  enqueue(tasks: readonly NewTask[]): Promise<readonly string[]>;
}

/**
 * Gives every request `ctx.backgroundTasks`. If a handler throws, or if the answer has a status of
 * 400 or more, nothing is enqueued. If the commit fails, the answer is that error.
 *
 * @example
 * ```ts
 * app.use(backgroundTasks(tasks));
 * router.post('/signup', (ctx) => {
 *   ctx.backgroundTasks.add(sendEmail, 'ada@example.com');
 * });
 * ```
 */
export function backgroundTasks(tasks: Enqueues): Middleware {
  // A single task has `enqueue` too, and would store itself with the list as its argument.
  if (typeof tasks?.enqueue !== 'function' || 'prepare' in tasks)
    throw wrongKind('tasks', tasks, aTaskManager);

  const collect = async (ctx: Context, next: Next): Promise<void> => {
    const added: NewTask[] = [];
    let open = true;
    const collector: BackgroundTasks = {
      add(task, ...args) {
        if (!open)
          throw new Error(
            'backgroundTasks.add() was called after the request had been answered; ' +
              'await the work, or use enqueue()',
          );
        if (typeof task?.prepare !== 'function')
          throw wrongKind('task', task, 'a task of a TaskManager, such as tasks.task() returns');
        const prepared = task.prepare(...args);
        added.push(prepared);
        return prepared.id;
      },
    };
    (ctx as typeof ctx & BackgroundTasksContext).backgroundTasks = collector;
    try {
      await next();
    } finally {
      open = false;
    }
    // Koa answers 404 without a body if no handler sets anything. That is not an error.
    const refused =
      ctx.status >= 400 && !(ctx.status === 404 && (ctx.body === undefined || ctx.body === null));
    if (added.length === 0 || refused) return;
    try {
      await tasks.enqueue(added);
    } catch (cause) {
      sendError(
        ctx,
        new TaskflowError('INTERNAL', 'the tasks of this request could not be stored', { cause }),
        'json',
        loggerOption('logger', undefined),
      );
    }
  };

  return function backgroundTasks(ctx, next) {
    requireKoa('backgroundTasks', next);
    return collect(ctx, next);
  };
}

/**
 * Returns `ctx.backgroundTasks` of a request with its type.
 *
 * @throws Error if {@link backgroundTasks} is not mounted before the calling middleware.
 * @example
 * ```ts
 * backgroundTasksOf(ctx).add(sendEmail, 'ada@example.com');
 * ```
 */
export function backgroundTasksOf(ctx: object): BackgroundTasks {
  const { backgroundTasks: found } = ctx as Partial<BackgroundTasksContext>;
  if (!found)
    throw new Error(
      'ctx.backgroundTasks is missing: ' +
        'call app.use(backgroundTasks(tasks)) before the routes that use it',
    );
  return found;
}
