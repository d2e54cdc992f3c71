import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { whole } from '../kit/formats.js';
import { notify, showError } from '../kit/notices.js';
import { When } from '../kit/states.js';
import { actionsColumn, type Column, DataTable } from '../kit/table.js';
import { Time } from '../kit/time.js';
import { loaded } from '../live/loaded.js';
import { loginCalls, type StrategyState } from '../state/login-calls.js';
import { page } from '../state/view.js';

const strategies = loaded(
  () => loginCalls.strategies(),
  () => page.peek() === 'settings',
);

/** The strategy that is being checked. There is one check at a time. */
const checking = signal<string | undefined>(undefined);

async function check({ name, label }: StrategyState): Promise<void> {
  checking.value = name;
  try {
    const { state } = await loginCalls.check(name);
    notify(state === 'up' ? `${label} answers.` : `${label} does not answer.`);
    await strategies.load();
  } catch (error) {
    showError(error);
  }
  checking.value = undefined;
}

const kinds = { password: 'password', redirect: 'provider', request: 'each request' };
const states = { up: 'Up', down: 'Down', unknown: 'Not used yet' };

const columns: readonly Column<StrategyState>[] = [
  {
    header: 'Strategy',
    isRowHeader: true,
    cell: ({ name, label, kind }) => (
      <>
        {label}
        <span class="under faint">
          {label !== name && `${name}, `}
          {kinds[kind]}
        </span>
      </>
    ),
  },
  {
    header: 'State',
    cell: ({ state, since, lastError }) => (
      <>
        <span class={`pill${state === 'down' ? ' warn' : ''}`}>{states[state]}</span>
        {since !== null && (
          <>
            {' '}
            since <Time at={since} />
          </>
        )}
        {lastError !== null && <span class="under faint">{lastError}</span>}
      </>
    ),
  },
  { header: 'Logins', cell: ({ logins }) => whole(logins) },
  { header: 'Rejected', cell: ({ rejected }) => whole(rejected) },
  { header: 'Failures', cell: ({ errors }) => whole(errors) },
  actionsColumn((strategy) =>
    strategy.isChecked ? (
      <button
        type="button"
        disabled={checking.value !== undefined}
        onClick={() => void check(strategy)}
      >
        {checking.value === strategy.name ? 'Checking…' : 'Check now'}
      </button>
    ) : null,
  ),
];

/** Shows administrators whether the strategies of the login answer. */
export function Strategies() {
  useEffect(() => void strategies.load(), []);
  return (
    <section class="frame" aria-labelledby="strategies">
      <h2 id="strategies">Login strategies</h2>
      <When source={strategies} what="The strategies">
        {({ items }) => (
          <DataTable
            caption="Login strategies"
            columns={columns}
            rows={items}
            keyOf={({ name }) => name}
          />
        )}
      </When>
      <p class="faint">
        Logins, rejections and failures are those of one process since it started.
      </p>
    </section>
  );
}
