const unitMilliseconds = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const relative = /^-(\d{1,6})([smhd])$/;
const iso = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2}))?$/;

/**
 * Reads a time: ISO 8601 with a zone, a date, or a time before now such as `-6h`. Returns Unix
 * milliseconds, or `undefined` for any other text or none.
 */
export function readTime(text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined;
  const [, amount, unit] = relative.exec(text) ?? [];
  if (amount !== undefined)
    return now - Number(amount) * unitMilliseconds[unit as keyof typeof unitMilliseconds];
  const time = iso.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(time) ? undefined : time;
}
