import { wrongKind, wrongType } from '../options.js';
import type { NewTask } from './new-task.js';

/**
 * Tracks the tasks that a manager has prepared. An engine trusts the tasks it stores, so only
 * prepared tasks are accepted. They have checked and encrypted arguments and a unique id, and they
 * cannot be changed.
 */
export class PreparedTasks {
  readonly #made = new WeakSet<object>();

  add(task: NewTask): NewTask {
    Object.freeze(task.tags);
    Object.freeze(task);
    this.#made.add(task);
    return task;
  }

  /**
   * Returns the tasks of a list.
   *
   * @throws TypeError with code INVALID_INPUT if one of them was not prepared by this manager.
   */
  check(list: unknown): NewTask[] {
    if (!Array.isArray(list))
      throw wrongType(
        'tasks',
        list,
        'a list of tasks that prepare() returned; to enqueue one task, call task.enqueue(…)',
      );
    // Unlike map, Array.from also visits the holes of a list.
    return Array.from(list, (task: unknown, index) => {
      if (!this.#made.has(task as object))
        throw wrongKind(
          `tasks[${index}]`,
          task,
          'what prepare() of a task of this manager returned, such as sendEmail.prepare(address)',
        );
      return task as NewTask;
    });
  }
}

/**
 * Checks the lists of arguments of `enqueueMany`.
 *
 * @throws TypeError with code INVALID_INPUT if they are not a list of lists.
 */
export function argumentLists<A extends readonly unknown[]>(list: readonly A[]): A[] {
  if (!Array.isArray(list))
    throw wrongKind('list', list, "a list of argument lists, such as [['a'], ['b']]");
  return Array.from(list, (args: unknown, index) => {
    if (!Array.isArray(args))
      throw wrongKind(`list[${index}]`, args, 'the list of arguments of one task');
    return args as readonly unknown[] as A;
  });
}
