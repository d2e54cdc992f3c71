import type { ShownTask } from '../../../client/client.js';
import { Tree } from './tree.js';

/** The arguments and the result of a task. */
export function Data({ task }: { task: ShownTask }) {
  return (
    <>
      <section aria-label="Arguments">
        <h3>Arguments</h3>
        {task.args === undefined ? (
          <p class="faint">Arguments are not shown, because displayFuncArgs is off.</p>
        ) : task.argsOmitted !== undefined ? (
          <p class="faint">Arguments are not shown: {task.argsOmitted}.</p>
        ) : (
          <Tree value={task.args} />
        )}
      </section>
      <section aria-label="Result">
        <h3>Result</h3>
        {task.resultOmitted !== undefined && (
          <p class="faint">No result is kept: {task.resultOmitted}.</p>
        )}
        {task.result === null ? (
          task.resultOmitted === undefined && <p class="faint">Nothing.</p>
        ) : (
          <Tree value={task.result} />
        )}
      </section>
    </>
  );
}
