/** Seconds in words: `840 ms`, `1.2 s`, `6m 4s`, `2h 05m`, `3d 4h`. */
export function duration(seconds: number | null): string {
  if (seconds === null) return '';
  const positive = Math.max(0, seconds);
  if (positive < 1) return `${Math.round(positive * 1000)} ms`;
  if (positive < 60) return `${(Math.floor(positive * 10) / 10).toFixed(1)} s`;
  const whole = Math.floor(positive);
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${whole % 60}s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)}h ${String(Math.floor((whole % 3600) / 60)).padStart(2, '0')}m`;
  return `${Math.floor(whole / 86_400)}d ${Math.floor((whole % 86_400) / 3600)}h`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const day = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'long' });

/** Clock time today, with the day before it else. */
export function time(iso: string | null, now: number): string {
  if (iso === null) return '';
  const date = new Date(iso);
  const text = clock.format(date);
  return date.toDateString() === new Date(now).toDateString() ? text : `${day.format(date)} ${text}`;
}

export function fullTime(iso: string | null): string {
  return iso === null ? '' : full.format(new Date(iso));
}

/** Clock time with milliseconds, for logs. */
export function preciseTime(iso: string): string {
  return `${clock.format(new Date(iso))}.${iso.slice(20, 23)}`;
}

/** UUIDv7 heads look alike, so both ends are shown. */
export function shortId(id: string): string {
  return id.length <= 16 ? id : `${id.slice(0, 8)}…${id.slice(-4)}`;
}

const numbers = new Intl.NumberFormat();
const compact = new Intl.NumberFormat(undefined, { notation: 'compact', maximumFractionDigits: 1 });

export function count(n: number): string {
  return n >= 100_000 ? compact.format(n) : numbers.format(n);
}

/** Never "100 %" when one has failed. */
export function percent(share: number | null): string {
  if (share === null) return '—';
  const rounded = share < 1 ? Math.min(99.9, Math.round(share * 1000) / 10) : 100;
  return `${rounded} %`;
}
