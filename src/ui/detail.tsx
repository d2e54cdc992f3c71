import { useEffect, useRef } from 'preact/hooks';
import { canCancel, canRetry, type ShownTask } from '../client/client.js';
import { Badge } from './badge.js';
import { may } from './facts.js';
import { duration, fullTime, preciseTime, shortId } from './format.js';
import { ranFor } from './table.js';
import { act, opened } from './tasks.js';
import { show } from './view.js';

function Actions({ task }: { task: ShownTask }) {
  const retry = (): void => {
    const warned =
      task.status !== 'interrupted' ||
      confirm('This task stopped half-way when its process ended. It may already have done part of its work. Run it again?');
    if (warned) void act('retry', task);
  };
  return (
    <div class="actions">
      {may('retry') && canRetry(task.status) && (
        <button type="button" class="primary" onClick={retry}>
          Retry
        </button>
      )}
      {may('cancel') && canCancel(task.status) && (
        <button type="button" disabled={task.engineState === 'cancelling'} onClick={() => void act('cancel', task)}>
          {task.engineState === 'cancelling' ? 'Cancelling…' : 'Cancel'}
        </button>
      )}
      <button type="button" class="quiet" onClick={() => void navigator.clipboard?.writeText(task.id)}>
        Copy id
      </button>
    </div>
  );
}

function ErrorPart({ task }: { task: ShownTask }) {
  if (!task.error) return null;
  return (
    <section aria-label="Error">
      <h3>Error</h3>
      <p class="error-box">
        <strong>{task.error.name}</strong>: {task.error.message}
      </p>
      {task.stack && <pre tabIndex={0}>{task.stack}</pre>}
    </section>
  );
}

function Logs({ task }: { task: ShownTask }) {
  const box = useRef<HTMLOListElement>(null);
  const follows = useRef(true);
  useEffect(() => {
    if (box.current && follows.current) box.current.scrollTop = box.current.scrollHeight;
  }, [task.logs.length]);
  const onScroll = (event: Event): void => {
    const { scrollTop, scrollHeight, clientHeight } = event.currentTarget as HTMLElement;
    follows.current = scrollHeight - scrollTop - clientHeight < 24;
  };
  // A window over the newest lines: a hundred thousand rows would freeze the page.
  const lines = task.logs.slice(-500);
  return (
    <section aria-label="Logs">
      <h3>Logs ({task.logs.length})</h3>
      {lines.length === 0 ? (
        <p class="faint">No line yet.</p>
      ) : (
        <ol class="log" ref={box} onScroll={onScroll} tabIndex={0}>
          {lines.map((line) => (
            <li key={line.n} class={line.level}>
              <time dateTime={line.at}>{preciseTime(line.at)}</time> <span class="level">{line.level}</span> {line.message}{' '}
              {line.fields && <span class="faint">{JSON.stringify(line.fields)}</span>}
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}

function Attempts({ task }: { task: ShownTask }) {
  if (task.attempts.length < 2) return null;
  return (
    <section aria-label="Attempts">
      <h3>Attempts</h3>
      <ol class="attempts">
        {task.attempts.map((attempt) => (
          <li key={attempt.number}>
            {attempt.number}. <Badge task={{ status: attempt.status }} />{' '}
            {attempt.endedAt && duration((Date.parse(attempt.endedAt) - Date.parse(attempt.startedAt)) / 1000)}{' '}
            <span class="faint">{attempt.error?.message}</span>
          </li>
        ))}
      </ol>
    </section>
  );
}

function Value({ name, value }: { name: string; value: unknown }) {
  return (
    <section aria-label={name}>
      <h3>{name}</h3>
      <pre tabIndex={0}>{JSON.stringify(value, null, 2)}</pre>
    </section>
  );
}

function facts(task: ShownTask): [string, string][] {
  return [
    ['Created', fullTime(task.createdAt)],
    ['Runs at', task.runAt === task.createdAt ? '' : fullTime(task.runAt)],
    ['Started', fullTime(task.startedAt)],
    ['Ended', fullTime(task.endedAt)],
    ['Duration', duration(ranFor(task))],
    ['Attempt', `${task.attempt} of ${task.maxAttempts}`],
    ['Queue', task.queue],
    ['Priority', String(task.priority)],
    ['Source', task.source],
    [
      'Tags',
      Object.entries(task.tags)
        .map(([key, value]) => `${key}: ${value}`)
        .join(', '),
    ],
  ];
}

/** Everything that is known of the open task. */
export function Detail() {
  const task = opened.value;
  const heading = useRef<HTMLHeadingElement>(null);
  const id = task?.id;
  useEffect(() => {
    if (id) heading.current?.focus();
    return () => {
      if (id) document.querySelector<HTMLElement>(`tr[data-task="${CSS.escape(id)}"] a`)?.focus();
    };
  }, [id]);
  useEffect(() => {
    // On the document: the button that was pressed last may be gone, and the focus with it.
    const onKey = (event: KeyboardEvent): void => {
      if (event.key === 'Escape' && id && !document.querySelector('dialog[open]')) show({ task: undefined });
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, [id]);
  if (!task) return null;
  return (
    <section class="detail" aria-labelledby="detail-name">
      <div class="detail-head">
        <h2 id="detail-name" tabIndex={-1} ref={heading}>
          {task.name} <Badge task={task} />
        </h2>
        <button type="button" class="quiet" aria-label="Close" onClick={() => show({ task: undefined })}>
          ✕
        </button>
      </div>
      <p class="faint mono" title={task.id}>
        {shortId(task.id)}
      </p>
      <Actions task={task} />
      <ErrorPart task={task} />
      <Logs task={task} />
      {task.args !== undefined && <Value name="Arguments" value={task.args} />}
      {task.resultOmitted !== undefined && <p class="faint">No result is kept: {task.resultOmitted}.</p>}
      {task.result !== null && <Value name="Result" value={task.result} />}
      <Attempts task={task} />
      <dl>
        {facts(task)
          .filter(([, value]) => value !== '')
          .map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
      </dl>
    </section>
  );
}
