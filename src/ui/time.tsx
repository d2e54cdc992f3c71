import { now, timeZone } from './clock.js';
import { axisTime, fullTime, preciseTime, relative, time } from './format.js';

/** A moment, in the zone of the page. The other form is in its title. */
export function Time({ at, form = 'clock' }: { at: string | null; form?: 'clock' | 'minute' | 'relative' | 'full' | 'precise' }) {
  if (at === null) return null;
  const zone = timeZone.value;
  const text = {
    clock: () => time(at, now.value, zone),
    minute: () => axisTime(at, zone, false),
    relative: () => relative(at, now.value),
    full: () => fullTime(at, zone),
    precise: () => preciseTime(at, zone),
  }[form]();
  const title = form === 'relative' ? fullTime(at, zone) : `${relative(at, now.peek())} · ${fullTime(at, zone)}`;
  return (
    <time dateTime={at} title={title}>
      {text}
    </time>
  );
}
