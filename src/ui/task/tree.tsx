import { useState } from 'preact/hooks';
import { bytes } from '../format.js';
import { copy } from '../shell/copy.js';

/** Characters of JSON that are drawn at once. */
const most = 20_000;

/** A value as JSON; a long one is cut until all of it is asked for. */
export function Tree({ value }: { value: unknown }) {
  const [all, setAll] = useState(false);
  const text = JSON.stringify(value, null, 2) ?? 'undefined';
  const cut = !all && text.length > most;
  return (
    <>
      <pre class="json" tabIndex={0}>
        {cut ? `${text.slice(0, most)}…` : text}
      </pre>
      <div class="actions">
        {cut && (
          <button type="button" onClick={() => setAll(true)}>
            Show all {bytes(text.length)}
          </button>
        )}
        <button type="button" class="quiet" onClick={() => copy(text, 'JSON')}>
          Copy
        </button>
      </div>
    </>
  );
}
