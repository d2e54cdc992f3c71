const twoDigits = (n: number): string => String(Math.floor(n)).padStart(2, '0');

/** Returns a duration in words: `840 ms`, `1.2 s`, `6m 4s`, `2h 05m`, `3d 4h`. Takes seconds. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return '';
  const positive = Math.max(0, seconds);
  if (positive < 1) return `${Math.round(positive * 1000)} ms`;
  if (positive < 60) return `${(Math.floor(positive * 10) / 10).toFixed(1)} s`;
  const whole = Math.floor(positive);
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${whole % 60}s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)}h ${twoDigits((whole % 3600) / 60)}m`;
  return `${Math.floor(whole / 86_400)}d ${Math.floor((whole % 86_400) / 3600)}h`;
}

/** Returns an age, or the time until an event, in one unit: `12 s`, `23 min`, `11 h`, `3 d`. */
export function age(seconds: number): string {
  const positive = Math.max(0, seconds);
  if (positive < 60) return `${Math.floor(positive)} s`;
  if (positive < 3600) return `${Math.floor(positive / 60)} min`;
  if (positive < 86_400 * 2) return `${Math.floor(positive / 3600)} h`;
  return `${Math.floor(positive / 86_400)} d`;
}

/** Returns a time relative to now, such as `23 min ago` or `in 11 h`. */
export function relative(iso: string, now: number): string {
  const seconds = (now - Date.parse(iso)) / 1000;
  if (Math.abs(seconds) < 1) return 'now';
  return seconds > 0 ? `${age(seconds)} ago` : `in ${age(-seconds)}`;
}

/** The language of the browser; undefined outside a browser. */
const language = (): string | undefined => globalThis.navigator?.language;

/**
 * Whether this file formats numbers and clock times itself, because the first use of `Intl` delays
 * the first paint noticeably. A test compares the results with `Intl` in these languages.
 */
const isPlain = (): boolean => /^en(-(US|GB|AU|CA|NZ|IE))?$/.test(language() ?? '');

type Zone = string | undefined;

/**
 * Returns the formats of a zone. Each is created once per zone, because they are costly. In the
 * local zone, some formats are not needed.
 */
function formats(
  options: Intl.DateTimeFormatOptions,
  plain?: (date: Date) => string,
): (date: Date, zone: Zone) => string {
  const made = new Map<Zone, Intl.DateTimeFormat>();
  return (date, zone) => {
    if (plain && zone === undefined && isPlain()) return plain(date);
    const format =
      made.get(zone) ?? new Intl.DateTimeFormat(language(), { ...options, timeZone: zone });
    made.set(zone, format);
    return format.format(date);
  };
}

const digits = (...parts: number[]): string =>
  parts.map((part) => String(part).padStart(2, '0')).join(':');

const clock = formats(
  { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' },
  (date) => digits(date.getHours(), date.getMinutes(), date.getSeconds()),
);
const short = formats({ hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }, (date) =>
  digits(date.getHours(), date.getMinutes()),
);
const day = formats({ month: 'short', day: 'numeric' });
const dayOfYear = formats({ year: 'numeric', month: 'short', day: 'numeric' });
const year = formats({ year: 'numeric' });
const full = formats({ dateStyle: 'medium', timeStyle: 'long' });

/** Whether two times are on the same day. */
export function isSameDay(a: number, b: number, zone: Zone): boolean {
  const dayOf = (moment: number): string =>
    zone === undefined ? new Date(moment).toDateString() : dayOfYear(new Date(moment), zone);
  return dayOf(a) === dayOf(b);
}

/**
 * Returns the clock time on the present day, `Nov 3 14:02` in the same year, and also the year
 * otherwise.
 */
export function time(iso: string, now: number, zone: Zone): string {
  const date = new Date(iso);
  if (isSameDay(date.getTime(), now, zone)) return clock(date, zone);
  const ofThisYear = year(date, zone) === year(new Date(now), zone);
  return `${(ofThisYear ? day : dayOfYear)(date, zone)} ${short(date, zone)}`;
}

/** Returns hours and minutes, with the day if the range is longer than a day. */
export function axisTime(iso: string, zone: Zone, withDay: boolean): string {
  const date = new Date(iso);
  return withDay ? `${day(date, zone)} ${short(date, zone)}` : short(date, zone);
}

export function fullTime(iso: string, zone: Zone): string {
  return full(new Date(iso), zone);
}

/** Returns the clock time with milliseconds, for logs. */
export function preciseTime(iso: string, zone: Zone): string {
  return `${clock(new Date(iso), zone)}.${iso.slice(20, 23)}`;
}

/** Returns both ends of an id, because UUIDv7 ids of the same time begin alike. */
export function shortId(id: string): string {
  return id.length <= 16 ? id : `${id.slice(0, 8)}…${id.slice(-4)}`;
}

let numbers: Intl.NumberFormat | undefined;
let compact: Intl.NumberFormat | undefined;

/** Returns the whole number with grouped digits. */
export function whole(n: number): string {
  if (isPlain()) return String(n).replace(/\B(?=(\d{3})+$)/g, ',');
  numbers ??= new Intl.NumberFormat(language());
  return numbers.format(n);
}

/** Returns a number in the short form of a card. */
export function count(n: number): string {
  if (n < 100_000) return whole(n);
  compact ??= new Intl.NumberFormat(language(), { notation: 'compact', maximumFractionDigits: 1 });
  return compact.format(n);
}

/** Returns a number with its noun, such as `1 task` or `206 tasks`. */
export function plural(n: number, word: string): string {
  return `${whole(n)} ${word}${n === 1 ? '' : 's'}`;
}

/** Returns a share in percent. It is "100 %" only if nothing failed. */
export function percent(share: number | null): string {
  if (share === null) return '—';
  const rounded = share < 1 ? Math.min(99.9, Math.round(share * 1000) / 10) : 100;
  return `${rounded} %`;
}

/** Returns a number of bytes in words. */
export function bytes(n: number): string {
  return n < 1024
    ? `${n} B`
    : n < 1_048_576
      ? `${(n / 1024).toFixed(1)} KB`
      : `${(n / 1_048_576).toFixed(1)} MB`;
}

/**
 * Says how many slots of a process are occupied by handlers that did not stop when their attempt
 * ended.
 */
export function stuckText(stuck: number, slots: number | null): string {
  return (
    `${whole(stuck)} of ${whole(slots ?? stuck)} ${slots === 1 ? 'slot' : 'slots'} held by ` +
    'handlers that did not stop'
  );
}
