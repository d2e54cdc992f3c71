import type { ShownTask } from '../../../client/client.js';
import { duration, plural } from '../../kit/formats.js';
import { Time } from '../../kit/time.js';
import { ChangeLink, PageLink } from '../../state/links.js';
import { show, view } from '../../state/view.js';
import { ranFor } from '../task-list/row.js';
import { ErrorPart } from './error.js';
import { FlowTree } from './flow.js';
import { lineCount, lines } from './log.js';
import { LogLineRow } from './log-line.js';
import { Timeline } from './timeline.js';
import { Tree } from './tree.js';

/** Number of log lines in the summary. */
const tail = 8;

function Tail() {
  const last = lines.value.slice(-tail);
  if (last.length === 0) return null;
  return (
    <section aria-label="End of the log">
      <h3>
        Log <ChangeLink change={{ tab: 'logs' }}>all {plural(lineCount.value, 'line')}</ChangeLink>
      </h3>
      <div class="log short">
        {last.map((line) => (
          <LogLineRow key={line.n} line={line} />
        ))}
      </div>
    </section>
  );
}

function Attempt({ task }: { task: ShownTask }) {
  const { attempt } = view.value;
  const chosen = task.attempts.find(({ number }) => number === attempt);
  if (!chosen)
    return <ErrorPart error={task.error} stack={task.stack} fingerprint={task.fingerprint} />;
  const before = task.attempts.find(({ number }) => number === chosen.number - 1);
  return (
    <>
      <p>
        Attempt {chosen.number} {chosen.status} at{' '}
        <Time at={chosen.endedAt ?? chosen.startedAt} form="precise" />
        {chosen.endedAt &&
          `, after ${duration((Date.parse(chosen.endedAt) - Date.parse(chosen.startedAt)) / 1000)}`}
        .{' '}
        {before?.error &&
          chosen.error &&
          before.error.message !== chosen.error.message &&
          'Its error differs from that of the previous attempt.'}{' '}
        <button
          type="button"
          class="quiet"
          onClick={() => show({ attempt: undefined }, { replace: true })}
        >
          All attempts
        </button>
      </p>
      <ErrorPart error={chosen.error} stack={chosen.error?.stack ?? null} fingerprint={null} />
    </>
  );
}

/** The most important facts of a task: its outcome, its error and the end of its log. */
export function Summary({ task }: { task: ShownTask }) {
  return (
    <>
      <dl class="facts">
        <div>
          <dt>Created</dt>
          <dd>
            <Time at={task.createdAt} />
          </dd>
        </div>
        {task.startedAt && (
          <div>
            <dt>Started</dt>
            <dd>
              <Time at={task.startedAt} />
            </dd>
          </div>
        )}
        {task.status === 'pending' && (
          <div>
            <dt>Runs</dt>
            <dd>
              <Time at={task.runAt} form="relative" />
            </dd>
          </div>
        )}
        <div>
          <dt>Duration</dt>
          <dd>{duration(ranFor(task)) || '—'}</dd>
        </div>
        <div>
          <dt>Queue</dt>
          <dd>
            <PageLink to={{ view: 'tasks', queue: task.queue }}>{task.queue}</PageLink>
          </dd>
        </div>
        {Object.entries(task.tags).length > 0 && (
          <div>
            <dt>Tags</dt>
            <dd>
              {Object.entries(task.tags).map(([key, value]) => (
                <PageLink key={key} to={{ view: 'tasks', tag: [`${key}:${value}`] }} class="pill">
                  {key}:{value}
                </PageLink>
              ))}
            </dd>
          </div>
        )}
      </dl>
      {task.progress !== null && task.status === 'running' && (
        <p>
          <progress max={1} value={task.progress} aria-label="Progress" /> {task.progressText}
        </p>
      )}
      {task.flow && <FlowTree flow={task.flow} />}
      <Timeline task={task} />
      <Attempt task={task} />
      <Tail />
      {task.args !== undefined && task.args.length > 0 && (
        <section aria-label="Arguments">
          <h3>Arguments</h3>
          <Tree value={task.args} />
        </section>
      )}
      {task.status === 'success' && task.result !== null && (
        <section aria-label="Result">
          <h3>Result</h3>
          <Tree value={task.result} />
        </section>
      )}
    </>
  );
}
