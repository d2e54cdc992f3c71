/** Returns the recurrence rule of a schedule in words if it is a common rule, and its time zone. */
export function ruleWords(rule: string): { words: string; zone: string | undefined } {
  const every = /^every (\S+)$/.exec(rule);
  if (every) return { words: `every ${secondsWords(Number(every[1]))}`, zone: undefined };
  const parts = rule.split(' ');
  const zone = parts.length > 5 ? parts.at(-1) : undefined;
  const fields = zone === undefined ? parts : parts.slice(0, -1);
  const cron = fields.join(' ');
  return { words: fields.length === 5 ? (cronWords(fields as Fields) ?? cron) : cron, zone };
}

type Fields = [minute: string, hour: string, day: string, month: string, weekday: string];

const isNumber = (text: string): boolean => /^\d+$/.test(text);
const days = [
  'Sundays',
  'Mondays',
  'Tuesdays',
  'Wednesdays',
  'Thursdays',
  'Fridays',
  'Saturdays',
  'Sundays',
];

function cronWords([minute, hour, day, month, weekday]: Fields): string | undefined {
  if (month !== '*') return undefined;
  const everyDay = day === '*' && weekday === '*';
  const step = /^\*\/(\d+)$/.exec(minute);
  if (hour === '*' && everyDay)
    return minute === '*'
      ? 'every minute'
      : step
        ? `every ${step[1]} minutes`
        : isNumber(minute)
          ? `hourly at :${minute.padStart(2, '0')}`
          : undefined;
  if (!isNumber(minute) || !isNumber(hour)) return undefined;
  const at = `${hour.padStart(2, '0')}:${minute.padStart(2, '0')}`;
  if (everyDay) return `daily at ${at}`;
  if (day === '*' && weekday === '1-5') return `Mondays to Fridays at ${at}`;
  if (day === '*' && isNumber(weekday)) return `${days[Number(weekday)] ?? weekday} at ${at}`;
  if (weekday === '*' && isNumber(day)) return `on day ${day} of each month at ${at}`;
  return undefined;
}

function secondsWords(seconds: number): string {
  for (const [size, unit] of [
    [86_400, 'day'],
    [3600, 'hour'],
    [60, 'minute'],
  ] as const)
    if (seconds >= size && seconds % size === 0)
      return seconds === size ? unit : `${seconds / size} ${unit}s`;
  return seconds === 1 ? 'second' : `${seconds} seconds`;
}
