import { now, timeZone, today } from './clock.js';
import { axisTime, fullTime, preciseTime, relative, time } from './formats.js';

/** A moment, in the zone of the page. */
export function Time({ at, form = 'clock' }: { at: string | null; form?: 'clock' | 'minute' | 'relative' | 'full' | 'precise' }) {
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
 * Gives a moment that is pointed at its other forms as a title: with each of fifty rows they would
 * cost more than the row. Its element may become that of another moment below the pointer, hence
 * each move.
 */
export function showTimeTitles(): void {
  document.addEventListener('pointermove', ({ target }) => {
    const time = target instanceof Element && target.closest('time');
    if (time) time.title = `${relative(time.dateTime, now.peek())} · ${fullTime(time.dateTime, timeZone.peek())}`;
  });
}
