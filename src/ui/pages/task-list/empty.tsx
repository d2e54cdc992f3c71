import { isFiltered, noFilter } from '../../state/address.js';
import { filterBy, view } from '../../state/view.js';

const firstTask = `const hello = tasks.task('hello', async (name: string) => name.length);
await tasks.start();
await hello.enqueue('world');`;

/** The text in place of a table without rows. */
export function Empty() {
  const shown = view.value;
  if (!isFiltered(shown) && shown.cursor === undefined) {
    return (
      <div class="empty">
        <p>No task has been enqueued yet. Three lines create the first one:</p>
        <pre tabIndex={0}>{firstTask}</pre>
      </div>
    );
  }
  const names = (Object.keys(noFilter) as (keyof typeof noFilter)[]).filter(
    (name) => shown[name]?.length,
  );
  return (
    <div class="empty">
      <p>No task matches these filters.</p>
      <div class="actions">
        {names.map((name) => (
          <button key={name} type="button" onClick={() => filterBy({ [name]: noFilter[name] })}>
            Clear {filterWords[name]}
          </button>
        ))}
        {names.length > 1 && (
          <button type="button" onClick={() => filterBy(noFilter)}>
            Clear all
          </button>
        )}
        {shown.from !== undefined && shown.from !== '-7d' && (
          <button type="button" onClick={() => filterBy({ from: '-7d', to: undefined })}>
            Widen to 7 days
          </button>
        )}
      </div>
    </div>
  );
}

/** The name of each filter in the interface. */
export const filterWords: Record<keyof typeof noFilter, string> = {
  status: 'state',
  name: 'function',
  queue: 'queue',
  tag: 'tag',
  fingerprint: 'failure group',
  schedule: 'schedule',
  q: 'search',
  from: 'from',
  to: 'until',
};
