import { useEffect, useRef, useState } from 'preact/hooks';
import { notice } from '../kit/notices.js';
import { selectionNotice } from '../pages/task-list/selection.js';
import { amount } from '../pages/task-list/table.js';
import { AddressLink } from '../state/links.js';

/**
 * Milliseconds that an outcome stays visible. Also the minimum time between two announcements of
 * how many tasks are shown.
 */
const stay = 10_000;

/**
 * Shows the last notice. An outcome disappears unless the pointer or the focus is on it. A failure
 * stays.
 */
export function Notices() {
  const said = notice.value;
  const [held, hold] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => {
    clearTimeout(timer.current);
    if (said && !said.failed && !held)
      timer.current = setTimeout(() => {
        if (notice.peek() === said) notice.value = undefined;
      }, stay);
  }, [said, held]);
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: hover and focus keep it open
    <div
      class="notices"
      onMouseEnter={() => hold(true)}
      onMouseLeave={() => hold(false)}
      onFocusIn={() => hold(true)}
      onFocusOut={() => hold(false)}
    >
      <div class="notice" role="status">
        {said && !said.failed && (
          <>
            <span>{said.text}</span>
            {said.link && <AddressLink href={said.link.href}>{said.link.text}</AddressLink>}
            {said.undo && (
              <button
                type="button"
                onClick={() => {
                  notice.value = undefined;
                  void said.undo?.();
                }}
              >
                Undo
              </button>
            )}
            <Dismiss />
          </>
        )}
      </div>
      <div class="notice failed" role="alert">
        {said?.failed && (
          <>
            <span>{said.text}</span>
            <Dismiss />
          </>
        )}
      </div>
      <Announcer />
    </div>
  );
}

function Dismiss() {
  return (
    <button
      type="button"
      class="quiet"
      aria-label="Dismiss"
      onClick={() => (notice.value = undefined)}
    >
      ✕
    </button>
  );
}

/**
 * Announces to screen readers how many tasks are shown, at most every ten seconds. It announces a
 * cleared selection at once.
 */
function Announcer() {
  const [text, setText] = useState('');
  const news = selectionNotice.value;
  const present = news || amount();
  const last = useRef(0);
  useEffect(() => {
    const timer = setTimeout(
      () => {
        last.current = Date.now();
        setText(present);
      },
      news ? 500 : Math.max(500, last.current + stay - Date.now()),
    );
    return () => clearTimeout(timer);
  }, [present]);
  return (
    <p class="unseen" role="status">
      {text}
    </p>
  );
}
