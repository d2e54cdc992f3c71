import type { ComponentChildren } from 'preact';
import type { ShownTask } from '../../../client/client.js';
import { duration } from '../../kit/formats.js';
import { Time } from '../../kit/time.js';
import { FunctionLink, PageLink } from '../../state/links.js';
import { RunHistory } from '../run-history.js';
import { ranFor } from '../task-list/row.js';

/** Every detail of a task, and the last runs of its function. */
export function Facts({ task }: { task: ShownTask }) {
  const facts: [string, ComponentChildren][] = [
    ['Id', <span class="mono">{task.id}</span>],
    ['Function', <FunctionLink name={task.name} />],
    ['Queue', <PageLink to={{ view: 'tasks', queue: task.queue }}>{task.queue}</PageLink>],
    ['Created', <Time at={task.createdAt} form="full" />],
    ['Runs at', task.runAt === task.createdAt ? '' : <Time at={task.runAt} form="full" />],
    ['Started', task.startedAt && <Time at={task.startedAt} form="full" />],
    ['Ended', task.endedAt && <Time at={task.endedAt} form="full" />],
    ['Duration', duration(ranFor(task))],
    ['Attempt', `${task.attempt} of ${task.maxAttempts}`],
    ['Priority', String(task.priority)],
    ['Source', task.source],
    [
      'Failure group',
      task.fingerprint && (
        <PageLink to={{ view: 'tasks', fingerprint: task.fingerprint }}>
          {task.fingerprint}
        </PageLink>
      ),
    ],
    ...Object.entries(task.tags).map(([key, value]): [string, ComponentChildren] => [
      `Tag ${key}`,
      <PageLink to={{ view: 'tasks', tag: [`${key}:${value}`] }}>{value}</PageLink>,
    ]),
  ];
  return (
    <>
      <dl class="facts">
        {facts
          .filter(([, value]) => value !== '' && value !== null)
          .map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
      </dl>
      <section aria-label="Other runs">
        <h3>
          Last runs of <FunctionLink name={task.name} />
        </h3>
        <RunHistory name={task.name} limit={50} />
      </section>
    </>
  );
}
