import { shortcutsOn } from './preferences.js';

/** Turns the shortcuts of single letters on and off. */
export function ShortcutsSwitch() {
  return (
    <label class="check">
      <input
        type="checkbox"
        checked={shortcutsOn.value}
        onChange={(event) => (shortcutsOn.value = event.currentTarget.checked)}
      />
      Single letters are shortcuts
    </label>
  );
}
