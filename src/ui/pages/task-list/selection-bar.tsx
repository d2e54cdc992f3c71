import { copy } from '../../kit/copy.js';
import { plural } from '../../kit/formats.js';
import { filterOf, isFiltered } from '../../state/address.js';
import { bootstrap, may } from '../../state/bootstrap.js';
import { view } from '../../state/view.js';
import { actOnFilter, actOnSelected } from './bulk-actions.js';
import { shownTasks, table } from './list.js';
import { clearSelection, selected } from './selection.js';

/** The actions on the selected tasks. It is hidden while no task is selected. */
export function SelectionBar() {
  const ids = selected.value;
  if (ids.size === 0 || !bootstrap.mayAct) return null;
  const chosen = (): ReturnType<typeof shownTasks> => shownTasks().filter(({ id }) => ids.has(id));
  const { total = 0, rows = [] } = table.value ?? {};
  return (
    <section class="selection-bar" aria-label="Selected tasks">
      <strong>{plural(ids.size, 'task')} selected</strong>
      {may('retry') && (
        <button type="button" class="primary" onClick={() => void actOnSelected('retry', chosen())}>
          Retry {ids.size}
        </button>
      )}
      {may('cancel') && (
        <button type="button" onClick={() => void actOnSelected('cancel', chosen())}>
          Cancel {ids.size}…
        </button>
      )}
      {may('delete') && (
        <button type="button" onClick={() => void actOnSelected('delete', chosen())}>
          Delete {ids.size}…
        </button>
      )}
      <button type="button" onClick={() => copy([...ids].join('\n'), plural(ids.size, 'id'))}>
        Copy ids
      </button>
      {may('retry') &&
        total > rows.length &&
        ids.size === rows.length &&
        isFiltered(view.value) && (
          <button
            type="button"
            class="quiet"
            onClick={() =>
              void actOnFilter('retry', filterOf(view.peek()), 'the tasks that match the filters')
            }
          >
            Retry all {total} matching…
          </button>
        )}
      <button type="button" class="quiet" onClick={() => clearSelection()}>
        Clear selection
      </button>
    </section>
  );
}
