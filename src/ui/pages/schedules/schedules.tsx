import { useEffect } from 'preact/hooks';
import type { ScheduleList } from '../../../client/client.js';
import { now, timeZone } from '../../kit/clock.js';
import { fullTime, relative, whole } from '../../kit/formats.js';
import { When } from '../../kit/states.js';
import { actionsColumn, type Column, DataTable } from '../../kit/table.js';
import { Time } from '../../kit/time.js';
import { loaded } from '../../live/loaded.js';
import { client, may } from '../../state/bootstrap.js';
import { ChangeLink, FunctionLink, PageLink } from '../../state/links.js';
import { page } from '../../state/view.js';
import { PauseButton, PauseNote } from '../pausing.js';
import { RunHistory } from '../run-history.js';
import { pauseSchedule, removeSchedule, resumeSchedule, runSchedule } from './actions.js';
import { ruleWords } from './rule.js';

const schedules = loaded(
  (signal) => client.schedules(signal),
  () => page.peek() === 'schedules',
);
const runsShown = 20;

type Schedule = ScheduleList['items'][number];

/** Returns the offset of a zone from UTC at a time, such as `GMT+01:00`. */
function offset(iso: string, zone: string): string {
  const parts = new Intl.DateTimeFormat('en', {
    timeZone: zone,
    timeZoneName: 'longOffset',
  }).formatToParts(new Date(iso));
  return parts.find(({ type }) => type === 'timeZoneName')?.value ?? '';
}

function NextRuns({ runs, zone }: { runs: readonly string[]; zone: string | undefined }) {
  return (
    <details>
      <summary>{runs.length === 1 ? 'Next run' : `Next ${runs.length} runs`}</summary>
      <ol class="runs">
        {runs.map((at, n) => {
          const before = runs[n - 1];
          const jumps =
            zone !== undefined && before !== undefined && offset(at, zone) !== offset(before, zone);
          return (
            <li key={at}>
              <Time at={at} form="full" />
              {zone !== undefined && zone !== timeZone.value && (
                <span class="faint"> = {fullTime(at, zone)}</span>
              )}
              {jumps && <span class="pill warn">clocks change before</span>}
            </li>
          );
        })}
      </ol>
    </details>
  );
}

/** Returns when a schedule last ran, for the text of its confirmation. */
const lastRun = ({ lastRunAt }: Schedule): string =>
  lastRunAt === null ? 'It has not run yet.' : `Last run ${relative(lastRunAt, now.peek())}.`;

const columns: readonly Column<Schedule>[] = [
  {
    header: 'Schedule',
    isRowHeader: true,
    cell: ({ name, pause, undefinedSince }) => (
      <>
        <PageLink to={{ view: 'tasks', schedule: name }}>{name}</PageLink>
        <PauseNote pause={pause} />
        {undefinedSince !== null && (
          <>
            <span class="pill warn">not defined</span>
            <span class="under faint">
              by any process since <Time at={undefinedSince} />
            </span>
          </>
        )}
      </>
    ),
  },
  { header: 'Function', cell: ({ task }) => <FunctionLink name={task} /> },
  {
    header: 'When',
    cell: ({ rule }) => {
      const { words, zone } = ruleWords(rule);
      return (
        <>
          {words}
          <span class="under faint">
            <span class="mono">{rule.replace(` ${zone}`, '')}</span>
            {zone && ` in ${zone}`}
          </span>
        </>
      );
    },
  },
  {
    header: 'Next',
    cell: ({ rule, paused, undefinedSince, nextRunAt, nextRuns }) => {
      const runs = !paused && undefinedSince === null;
      return (
        <>
          {runs && nextRunAt !== null ? <Time at={nextRunAt} form="relative" /> : '—'}
          {runs && nextRuns.length > 0 && <NextRuns runs={nextRuns} zone={ruleWords(rule).zone} />}
        </>
      );
    },
  },
  {
    header: 'Last',
    cell: ({ lastRunAt, lastTaskId, skipped }) => {
      const time = lastRunAt === null ? '—' : <Time at={lastRunAt} form="relative" />;
      return (
        <>
          {lastRunAt !== null && lastTaskId ? (
            <ChangeLink change={{ task: lastTaskId }}>{time}</ChangeLink>
          ) : (
            time
          )}
          {skipped > 0 && <span class="under faint">{whole(skipped)} skipped</span>}
        </>
      );
    },
  },
  {
    header: 'Last runs',
    cell: ({ task, name }) => <RunHistory name={task} schedule={name} limit={runsShown} />,
  },
  actionsColumn((schedule) => {
    const { name, paused, pausable, undefinedSince } = schedule;
    const isDefined = undefinedSince === null;
    return (
      <>
        {may('run') && (
          <button
            type="button"
            onClick={() => void runSchedule(name, lastRun(schedule)).then(schedules.load)}
          >
            Run now
          </button>
        )}
        {!isDefined && may('remove') && (
          <button type="button" onClick={() => void removeSchedule(name).then(schedules.load)}>
            Remove…
          </button>
        )}
        {isDefined && pausable !== false && (
          <PauseButton
            paused={paused}
            pause={() => void pauseSchedule(name).then(schedules.load)}
            resume={() => void resumeSchedule(name).then(schedules.load)}
          />
        )}
      </>
    );
  }),
];

/** The page with the schedules, their next and last runs. */
export function SchedulesPage() {
  useEffect(() => void schedules.load(), []);
  return (
    <When source={schedules} what="The schedules">
      {({ items }) =>
        items.length === 0 ? (
          <div class="empty">
            <p>There is no schedule yet. One line creates one:</p>
            <pre tabIndex={0}>
              {"tasks.schedule('nightly_report', report, { cron: '0 3 * * *', timezone: " +
                "'Europe/Berlin' });"}
            </pre>
          </div>
        ) : (
          <DataTable
            caption="Schedules"
            columns={columns}
            rows={items}
            keyOf={({ name }) => name}
          />
        )
      }
    </When>
  );
}
