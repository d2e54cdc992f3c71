import { Coverage } from '../../kit/coverage.js';
import { plural } from '../../kit/formats.js';
import { When } from '../../kit/states.js';
import { More } from '../../kit/table.js';
import { loaded } from '../../live/loaded.js';
import { usePages } from '../../live/pages.js';
import { client, may } from '../../state/bootstrap.js';
import { page, show, view } from '../../state/view.js';
import { RangeChoice, secondsOf } from '../range.js';
import { functions } from '../task-list/list.js';
import { FailureGroups } from './failure-groups.js';
import { retryFailedSince } from './retry-failed.js';

const perPage = 50;

function query(): NonNullable<Parameters<typeof client.failures>[0]> {
  const { name, range } = view.peek();
  return { from: range ?? '-24h', limit: perPage, ...(name !== undefined && { name }) };
}

const list = loaded(
  (signal) => client.failures(query(), signal),
  () => page.peek() === 'failures',
);

/**
 * The page with failures grouped by error. It shows how often and since when each group occurs, and
 * has buttons to retry its tasks.
 */
export function FailuresPage() {
  const { name, range, which } = view.value;
  const { items, more } = usePages({
    source: list,
    ask: (cursor) => client.failures({ ...query(), cursor }),
    keyOf: ({ fingerprint }) => fingerprint,
    list: JSON.stringify([name, range]),
  });
  return (
    <>
      <div class="filters">
        <RangeChoice />
        <label>
          <span class="unseen">Function</span>
          <select
            value={name ?? ''}
            onChange={(event) =>
              show({ name: event.currentTarget.value || undefined }, { replace: true })
            }
          >
            <option value="">all functions</option>
            {functions.value.map((each) => (
              <option key={each} value={each}>
                {each}
              </option>
            ))}
          </select>
        </label>
        <fieldset class="states">
          <legend class="unseen">Which</legend>
          <button
            type="button"
            class="chip"
            aria-pressed={which === undefined}
            onClick={() => show({ which: undefined }, { replace: true })}
          >
            open
          </button>
          <button
            type="button"
            class="chip"
            aria-pressed={which === 'all'}
            onClick={() => show({ which: 'all' }, { replace: true })}
          >
            all
          </button>
        </fieldset>
        {may('retry') && (
          <button
            type="button"
            onClick={() =>
              void retryFailedSince(
                secondsOf(range),
                `in the last ${(range ?? '-24h').slice(1)}`,
                name,
              )
            }
          >
            Retry all that failed in the last {(range ?? '-24h').slice(1)}…
          </button>
        )}
      </div>
      <Coverage since={list.value.value?.completeSince} />
      <When source={list} what="The failures">
        {() => {
          const groups = items.filter(({ failed }) => which === 'all' || failed > 0);
          if (groups.length === 0)
            return (
              <div class="empty">
                <p>
                  {items.length > 0
                    ? 'All failed tasks were retried or removed.'
                    : 'No task failed in this period.'}
                </p>
                {items.length > 0 && (
                  <button type="button" onClick={() => show({ which: 'all' }, { replace: true })}>
                    Show them
                  </button>
                )}
              </div>
            );
          return (
            <FailureGroups
              groups={groups}
              caption={`${plural(groups.length, 'failure group')}, the last seen first`}
            />
          );
        }}
      </When>
      <More more={more} />
    </>
  );
}
