import { count, percent } from './format.js';
import { signs, statuses } from './statuses.js';
import { pulse } from './tasks.js';
import { show, view } from './view.js';

/** One card for each state, which filters the table by it, and the share that succeeded. */
export function Counts() {
  const { counts, successRate, perMinute } = pulse.value ?? {};
  return (
    <section class="counts" aria-label="Numbers">
      {statuses.map((status) => {
        const chosen = view.value.status.includes(status);
        const others = view.value.status.filter((each) => each !== status);
        return (
          <button
            key={status}
            type="button"
            class={`card ${status}`}
            aria-pressed={chosen}
            onClick={() => show({ status: chosen ? others : [...others, status], cursor: undefined })}
          >
            <span class="label">
              <span aria-hidden="true">{signs[status]}</span> {status}
            </span>
            <strong title={counts && String(counts[status])}>{counts ? count(counts[status]) : '—'}</strong>
          </button>
        );
      })}
      <div class="card">
        <span class="label">Success rate</span>
        <strong>{percent(successRate ?? null)}</strong>
      </div>
      <div class="card">
        <span class="label">Per minute</span>
        <strong>{perMinute === undefined ? '—' : count(perMinute)}</strong>
      </div>
    </section>
  );
}
