import { now, timeZone, today } from './clock.js';
import { axisTime, fullTime, preciseTime, relative, time } from './formats.js';

/** A time in the time zone of the page. */
export function Time({
  at,
  form = 'clock',
}: {
  at: string | null;
  form?: 'clock' | 'minute' | 'relative' | 'full' | 'precise';
}) {
  if (at === null) return null;
  const zone = timeZone.value;
  const text = {
    clock: () => time(at, today.value, zone),
    minute: () => axisTime(at, zone, false),
    relative: () => relative(at, now.value),
    full: () => fullTime(at, zone),
    precise: () => preciseTime(at, zone),
  }[form]();
  return <time dateTime={at}>{text}</time>;
}

/**
 * Gives the time under the pointer a title with its other forms. A title on every time would cost
 * more than the rows. An element can show another time later, so each pointer movement sets the
 * title.
 */
export function showTimeTitles(): void {
  document.addEventListener('pointermove', ({ target }) => {
    const time = target instanceof Element && target.closest('time');
    if (!time) return;
    const full = fullTime(time.dateTime, timeZone.peek());
    time.title = `${relative(time.dateTime, now.peek())} · ${full}`;
  });
}
