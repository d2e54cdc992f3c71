import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { LogLevel, ShownTask } from '../../../client/client.js';
import { zoneLabel } from '../../kit/clock.js';
import { plural, whole } from '../../kit/formats.js';
import { showError } from '../../kit/notices.js';
import { Failure } from '../../kit/states.js';
import { wrapsLog } from '../../state/preferences.js';
import { show, view } from '../../state/view.js';
import {
  filter,
  follows,
  hasEarlier,
  hasLater,
  lineCount,
  lines,
  loadEarlier,
  loadLater,
  logError,
  openLog,
  setFilter,
  toEnd,
  wholeLog,
} from './log.js';
import { LogLineRow } from './log-line.js';

const levels = ['trace', 'debug', 'info', 'warn', 'error'] as const satisfies readonly LogLevel[];
/** Maximum distance in pixels from the end at which the log counts as scrolled to the end. */
const slack = 24;

function toggleFollow(): void {
  if (follows.peek()) follows.value = false;
  else toEnd();
}

function Tools({ task }: { task: ShownTask }) {
  const [saving, setSaving] = useState('');
  const download = async (): Promise<void> => {
    try {
      const blob = await wholeLog(task.id, (n) => setSaving(`${whole(n)} lines…`));
      const link = document.createElement('a');
      link.href = URL.createObjectURL(blob);
      link.download = `${task.name}-${task.id}.log`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    } catch (error) {
      showError(error);
    } finally {
      setSaving('');
    }
  };
  return (
    <div class="log-tools">
      <input
        type="search"
        aria-label="Find in the log"
        placeholder="Find…"
        value={filter.value.text}
        maxLength={200}
        onInput={(event) => setFilter({ text: event.currentTarget.value })}
      />
      <label>
        <span class="unseen">Level</span>
        <select
          value={filter.value.level}
          onChange={(event) => setFilter({ level: event.currentTarget.value as LogLevel })}
        >
          {levels.map((level) => (
            <option key={level} value={level}>
              {level === 'trace' ? 'all levels' : `≥ ${level}`}
            </option>
          ))}
        </select>
      </label>
      {filter.value.attempt !== undefined && (
        <button
          type="button"
          class="chip set"
          onClick={() => {
            show({ attempt: undefined }, { replace: true });
            setFilter({ attempt: undefined });
          }}
        >
          attempt {filter.value.attempt} <span aria-hidden="true">✕</span>
        </button>
      )}
      <button type="button" aria-pressed={follows.value} onClick={toggleFollow}>
        Follow
      </button>
      <button
        type="button"
        aria-pressed={wrapsLog.value}
        onClick={() => (wrapsLog.value = !wrapsLog.value)}
      >
        Wrap
      </button>
      <button type="button" disabled={saving !== ''} onClick={() => void download()}>
        {saving || 'Download'}
      </button>
    </div>
  );
}

/** The log of a task. It shows a part of the lines and adds new lines as they arrive. */
export function Logs({ task }: { task: ShownTask }) {
  const box = useRef<HTMLDivElement>(null);
  const height = useRef(0);
  const { attempt } = view.value;
  useEffect(() => {
    if (attempt !== filter.peek().attempt) setFilter({ attempt });
  }, [attempt]);
  const shown = lines.value;
  const first = shown[0]?.n;
  useLayoutEffect(() => {
    const list = box.current;
    if (!list) return;
    if (follows.peek()) list.scrollTop = list.scrollHeight;
    // Lines that are added above would move the text down, so the scroll position moves by their
    // height.
    else if (list.scrollTop < 4) list.scrollTop = Math.max(0, list.scrollHeight - height.current);
    height.current = list.scrollHeight;
  }, [first, shown.length, shown.at(-1)?.n]);
  const onScroll = (event: Event): void => {
    const { scrollTop, scrollHeight, clientHeight } = event.currentTarget as HTMLElement;
    const atEnd = scrollHeight - scrollTop - clientHeight < slack;
    if (atEnd && hasLater.peek()) void loadLater();
    else if (atEnd !== follows.peek() && !hasLater.peek()) follows.value = atEnd;
    if (scrollTop === 0 && hasEarlier.peek() && !follows.peek()) void loadEarlier();
  };
  const onKey = (event: KeyboardEvent): void => {
    if (event.key !== 'End') return;
    event.preventDefault();
    toEnd();
    if (box.current) box.current.scrollTop = box.current.scrollHeight;
  };
  return (
    <section aria-label="Log">
      <Tools task={task} />
      {logError.value !== undefined && (
        <Failure error={logError.value} what="The log" again={() => openLog(task.id, true)} />
      )}
      {filter.value.attempt !== undefined && shown.some((line) => line.attempt === null) && (
        <p class="faint">
          BullMQ does not store the attempt of all lines. Lines without an attempt are shown too.
        </p>
      )}
      {hasEarlier.value && (
        <button
          type="button"
          class="quiet"
          onClick={() => {
            follows.value = false;
            void loadEarlier();
          }}
        >
          Earlier lines ↑
        </button>
      )}
      {shown.length === 0 ? (
        <p class="faint">{lineCount.value === 0 ? 'No line yet.' : 'No line matches.'}</p>
      ) : (
        <div
          class={`log ${wrapsLog.value ? '' : 'unwrapped'}`}
          role="log"
          aria-label={`Lines, ${zoneLabel.value}`}
          aria-live={follows.value ? 'polite' : 'off'}
          ref={box}
          onScroll={onScroll}
          onKeyDown={onKey}
          tabIndex={0}
        >
          {shown.map((line) => (
            <LogLineRow key={line.n} line={line} />
          ))}
        </div>
      )}
      {hasLater.value && (
        <button type="button" class="quiet" onClick={toEnd}>
          To the end ↓
        </button>
      )}
      <p class="faint">{plural(shown.length, 'line')} shown</p>
    </section>
  );
}
