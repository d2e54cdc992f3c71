import { show, view } from '../state/view.js';

/** The periods of charts and counts, with the number of seconds of a bar. */
const stretches = {
  '-1h': { words: '1 h', seconds: 3600, step: 60 },
  '-6h': { words: '6 h', seconds: 21_600, step: 300 },
  '-24h': { words: '24 h', seconds: 86_400, step: 3600 },
  '-7d': { words: '7 d', seconds: 604_800, step: 14_400 },
} as const;

type Stretch = keyof typeof stretches;

const standard: Stretch = '-24h';

/** Returns the period in the address. */
export function stretchOf(range: string | undefined): {
  range: Stretch;
  words: string;
  seconds: number;
  step: number;
} {
  const known =
    range !== undefined && Object.hasOwn(stretches, range) ? (range as Stretch) : standard;
  return { range: known, ...stretches[known] };
}

export function secondsOf(range: string | undefined): number {
  return stretchOf(range).seconds;
}

/** Buttons that choose the period. */
export function RangeChoice() {
  const { range } = stretchOf(view.value.range);
  return (
    <fieldset class="states">
      <legend class="unseen">Time</legend>
      {(Object.keys(stretches) as Stretch[]).map((each) => (
        <button
          key={each}
          type="button"
          class="chip"
          aria-pressed={each === range}
          onClick={() => show({ range: each === standard ? undefined : each }, { replace: true })}
        >
          {stretches[each].words}
        </button>
      ))}
    </fieldset>
  );
}
