import { effect, type Signal, signal } from '@preact/signals';
import { isZone } from './address.js';

const saves: (() => void)[] = [];

/**
 * Creates a setting that this browser stores. Filters are not settings, because the address
 * contains them.
 */
function preference<T>(
  name: string,
  otherwise: T,
  isValid: (value: unknown) => boolean,
): Signal<T> {
  const key = `tf-${name}`;
  const kept = signal(read(key, otherwise, isValid));
  saves.push(() => {
    try {
      if (kept.value === otherwise) localStorage.removeItem(key);
      else localStorage.setItem(key, JSON.stringify(kept.value));
    } catch {
      // The browser does not allow storage, so the setting lasts until the page is closed.
    }
  });
  return kept;
}

function read<T>(key: string, otherwise: T, isValid: (value: unknown) => boolean): T {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(key) ?? 'null');
    return isValid(value) ? (value as T) : otherwise;
  } catch {
    return otherwise;
  }
}

const isBoolean = (value: unknown): boolean => typeof value === 'boolean';

/** Whether single letters are shortcuts (WCAG 2.1.4). */
export const shortcutsOn = preference('shortcuts', true, isBoolean);
/** Whether the page is paused. A paused page shows no changes. */
export const paused = preference('paused', false, isBoolean);
/** The time zone of all times: `local`, `UTC`, or the name of one. */
export const zonePreference = preference<string>(
  'zone',
  'local',
  (value) => typeof value === 'string' && isZone(value),
);
export const pageSize = preference<number>('rows', 50, (value) =>
  [50, 100, 200].includes(value as number),
);
/** The width of the panel of a task: 0 to 2. */
export const panelWidth = preference<number>('panel', 0, (value) =>
  [0, 1, 2].includes(value as number),
);
/** Whether long lines of a log wrap. */
export const wrapsLog = preference('wrap', true, isBoolean);

/** Saves each setting when it changes. */
export function savePreferences(): void {
  for (const save of saves) effect(save);
}
