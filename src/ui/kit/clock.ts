import { computed, effect, signal } from '@preact/signals';
import { isSameDay } from './formats.js';

/**
 * Milliseconds by which the server's clock is ahead of the browser's. With it, ages are right even
 * if the clock of the computer is wrong.
 */
let ahead = 0;

/** The present time of the server in Unix milliseconds, updated each second. */
export const now = signal(Date.now());

/** Sets the clock to the server's time. */
export function setClock(serverTime: string): void {
  ahead = Date.parse(serverTime) - Date.now();
  tick();
}

function tick(): void {
  now.value = Date.now() + ahead;
}

/** Returns the present time of the server in Unix milliseconds. */
export function serverNow(): number {
  return Date.now() + ahead;
}

/** The time zone of all times: `local`, `UTC`, or the name of a zone. */
export const zone = signal('local');

/**
 * Ticks each second while the page is visible. Shows times in the zone that `chosen` returns from
 * signals.
 */
export function startClock(chosen: () => string): void {
  effect(() => {
    zone.value = chosen();
  });
  setInterval(() => {
    if (!document.hidden) tick();
  }, 1000);
  document.addEventListener('visibilitychange', tick);
}

/** The time zone in the form that `Intl` accepts. */
export const timeZone = computed(() => (zone.value === 'local' ? undefined : zone.value));

let momentOfDay = now.peek();

/**
 * A time on the present day. Components that depend only on the day use it, so that they are not
 * redrawn each second.
 */
export const today = computed(() => {
  if (!isSameDay(momentOfDay, now.value, timeZone.value)) momentOfDay = now.value;
  return momentOfDay;
});

/** Returns minutes ahead of UTC as text, such as `+1` or `-3:30`. */
function offset(minutes: number): string {
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const end = rest === 0 ? '' : `:${String(rest).padStart(2, '0')}`;
  return `${minutes < 0 ? '-' : '+'}${hours}${end}`;
}

/** The time zone in column headers of times, such as `UTC+1`. */
export const zoneLabel = computed(() => {
  if (timeZone.value === undefined)
    return `UTC${offset(-new Date(now.peek()).getTimezoneOffset())}`;
  const parts = new Intl.DateTimeFormat('en', {
    timeZone: timeZone.value,
    timeZoneName: 'shortOffset',
  }).formatToParts(now.peek());
  return (parts.find(({ type }) => type === 'timeZoneName')?.value ?? 'UTC').replace('GMT', 'UTC');
});
