import { useEffect } from 'preact/hooks';
import type { ScheduleList } from '../../../client/client.js';
import { now, timeZone } from '../../kit/clock.js';
import { fullTime, relative, whole } from '../../kit/formats.js';
import { When } from '../../kit/states.js';
import { Heads } from '../../kit/table.js';
import { Time } from '../../kit/time.js';
import { loaded } from '../../live/loaded.js';
import { client, may } from '../../state/bootstrap.js';
import { ChangeLink, FunctionLink, PageLink } from '../../state/links.js';
import { page } from '../../state/view.js';
import { PauseButton, PauseNote } from '../pausing.js';
import { Strip } from '../run-history.js';
import { pauseSchedule, removeSchedule, resumeSchedule, runSchedule } from './actions.js';
import { ruleWords } from './rule.js';

const schedules = loaded(
  (signal) => client.schedules(signal),
  () => page.peek() === 'schedules',
);
const runsOfStrip = 20;

type Schedule = ScheduleList['items'][number];

/** What a clock of the zone is ahead of UTC at a moment, such as `+01:00`. */
function offset(iso: string, zone: string): string {
  const parts = new Intl.DateTimeFormat('en', { timeZone: zone, timeZoneName: 'longOffset' }).formatToParts(new Date(iso));
  return parts.find(({ type }) => type === 'timeZoneName')?.value ?? '';
}

function NextRuns({ runs, zone }: { runs: readonly string[]; zone: string | undefined }) {
  return (
    <details>
      <summary>{runs.length === 1 ? 'Next run' : `Next ${runs.length} runs`}</summary>
      <ol class="runs">
        {runs.map((at, n) => {
          const before = runs[n - 1];
          const jumps = zone !== undefined && before !== undefined && offset(at, zone) !== offset(before, zone);
          return (
            <li key={at}>
              <Time at={at} form="full" />
              {zone !== undefined && zone !== timeZone.value && <span class="faint"> = {fullTime(at, zone)}</span>}
              {jumps && <span class="pill warn">clocks change before</span>}
            </li>
          );
        })}
      </ol>
    </details>
  );
}

function ScheduleRow({ schedule }: { schedule: Schedule }) {
  const { name, task, rule, nextRunAt, lastRunAt, lastTaskId, paused, pause, skipped, undefinedSince, nextRuns } = schedule;
  const isDefined = undefinedSince === null;
  const { words, zone } = ruleWords(rule);
  const last = lastRunAt === null ? 'It has not run yet.' : `Last run ${relative(lastRunAt, now.peek())}.`;
  return (
    <tr>
      <th scope="row">
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
      </th>
      <td data-label="Function">
        <FunctionLink name={task} />
      </td>
      <td data-label="When">
        {words}
        <span class="under faint">
          <span class="mono">{rule.replace(` ${zone}`, '')}</span>
          {zone && ` in ${zone}`}
        </span>
      </td>
      <td data-label="Next">
        {paused || !isDefined || nextRunAt === null ? '—' : <Time at={nextRunAt} form="relative" />}
        {!paused && isDefined && nextRuns.length > 0 && <NextRuns runs={nextRuns} zone={zone} />}
      </td>
      <td data-label="Last">
        {lastRunAt === null ? (
          '—'
        ) : lastTaskId ? (
          <ChangeLink change={{ task: lastTaskId }}>
            <Time at={lastRunAt} form="relative" />
          </ChangeLink>
        ) : (
          <Time at={lastRunAt} form="relative" />
        )}
        {skipped > 0 && <span class="under faint">{whole(skipped)} left out</span>}
      </td>
      <td data-label="Last runs">
        <Strip name={task} schedule={name} most={runsOfStrip} />
      </td>
      <td class="row-actions">
        {may('run') && (
          <button type="button" onClick={() => void runSchedule(name, last).then(schedules.load)}>
            Run now
          </button>
        )}
        {!isDefined && may('remove') && (
          <button type="button" onClick={() => void removeSchedule(name).then(schedules.load)}>
            Remove…
          </button>
        )}
        {isDefined && schedule.pausable !== false && (
          <PauseButton
            paused={paused}
            pause={() => void pauseSchedule(name).then(schedules.load)}
            resume={() => void resumeSchedule(name).then(schedules.load)}
          />
        )}
      </td>
    </tr>
  );
}

/** What runs by the clock: when next, how it went, and the buttons for it. */
export function SchedulesPage() {
  useEffect(() => void schedules.load(), []);
  return (
    <When source={schedules} what="The schedules">
      {({ items }) =>
        items.length === 0 ? (
          <div class="empty">
            <p>Nothing is scheduled. One line does it:</p>
            <pre tabIndex={0}>{"tasks.schedule('nightly_report', report, { cron: '0 3 * * *', timezone: 'Europe/Berlin' });"}</pre>
          </div>
        ) : (
          <table>
            <caption>Schedules</caption>
            <Heads names={['Schedule', 'Function', 'When', 'Next', 'Last', 'Last runs', '']} />
            <tbody>
              {items.map((schedule) => (
                <ScheduleRow key={schedule.name} schedule={schedule} />
              ))}
            </tbody>
          </table>
        )
      }
    </When>
  );
}
