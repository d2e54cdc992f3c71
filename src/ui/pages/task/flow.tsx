import type { ShownTask } from '../../../client/client.js';
import { shortId } from '../../kit/formats.js';
import { symbols } from '../../kit/statuses.js';
import { ChangeLink } from '../../state/links.js';
import { view } from '../../state/view.js';

type Flow = NonNullable<ShownTask['flow']>;

/** The tree of tasks that wait for each other. It marks the open task. */
export function FlowTree({ flow }: { flow: Flow }) {
  return (
    <section aria-label="Flow">
      <h3>Flow</h3>
      <ul class="flow">
        <Node node={flow} />
      </ul>
    </section>
  );
}

function Node({ node }: { node: Flow }) {
  const { id, name, status, engineState, children, more } = node;
  const isOpen = view.value.task === id;
  return (
    <li>
      {status === null ? (
        <span class="faint">{name}</span>
      ) : (
        <>
          <span class={`badge ${status}`} data-sign={symbols[status]}>
            {engineState ?? status}
          </span>{' '}
          {isOpen ? (
            <strong aria-current="true">{name}</strong>
          ) : (
            <ChangeLink change={{ task: id, attempt: undefined }}>{name}</ChangeLink>
          )}{' '}
          <span class="faint mono" title={id}>
            {shortId(id)}
          </span>
        </>
      )}
      {(children.length > 0 || more > 0) && (
        <ul>
          {children.map((child) => (
            <Node key={child.id} node={child} />
          ))}
          {more > 0 && <li class="faint">and {more} more</li>}
        </ul>
      )}
    </li>
  );
}
