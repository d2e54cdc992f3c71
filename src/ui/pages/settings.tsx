import { useState } from 'preact/hooks';
import { zone } from '../kit/clock.js';
import { confirmed } from '../kit/dialog.js';
import { plural, whole } from '../kit/formats.js';
import { notify, showError } from '../kit/notices.js';
import { isZone } from '../state/address.js';
import { bootstrap, client, may, ownName } from '../state/bootstrap.js';
import { zonePreference } from '../state/preferences.js';
import { ShortcutsSwitch } from '../state/shortcuts-switch.js';
import { setTheme, theme, themes } from '../state/theme.js';
import { show } from '../state/view.js';
import { Strategies } from './strategies.js';

const units = { h: 'hours', d: 'days' } as const;

/**
 * Deletes tasks that ended before a time. Counts them first, and asks the user to type the name of
 * the environment.
 */
async function deleteHistory(amount: number, unit: keyof typeof units): Promise<void> {
  const before = `-${amount}${unit}`;
  const words = `${amount} ${units[unit]}`;
  let found: { deleted: number; more: boolean };
  try {
    found = await client.deleteHistory(before, { dryRun: true });
  } catch (error) {
    return showError(error);
  }
  if (found.deleted === 0) return notify(`No task ended more than ${words} ago.`);
  const number = `${found.more ? 'more than ' : ''}${plural(found.deleted, 'task')}`;
  await confirmed({
    title: `Delete ${number}?`,
    body: () => (
      <p>
        Delete <strong>{number}</strong> that ended more than {words} ago from{' '}
        <strong>{bootstrap.title}</strong>? This cannot be undone. Waiting and running tasks stay.
      </p>
    ),
    button: () => `Delete ${number}`,
    danger: true,
    typed: bootstrap.title,
    async act(_reason, progress) {
      let deleted = 0;
      for (let more = true; more; ) {
        const done = await client.deleteHistory(before);
        deleted += done.deleted;
        more = done.more && done.deleted > 0;
        progress.value = `${whole(deleted)} deleted…`;
      }
      notify(`${plural(deleted, 'task')} deleted.`);
    },
  });
}

function History() {
  const [amount, setAmount] = useState(30);
  const [unit, setUnit] = useState<keyof typeof units>('d');
  return (
    <section class="frame" aria-labelledby="history">
      <h2 id="history">Delete history</h2>
      <form
        class="filters"
        onSubmit={(event) => {
          event.preventDefault();
          void deleteHistory(amount, unit);
        }}
      >
        Tasks that ended more than
        <input
          aria-label="How long ago"
          type="number"
          min={1}
          max={9999}
          required
          value={amount}
          onInput={(event) => setAmount(event.currentTarget.valueAsNumber)}
        />
        <select
          aria-label="Unit"
          value={unit}
          onChange={(event) => setUnit(event.currentTarget.value as keyof typeof units)}
        >
          {Object.entries(units).map(([value, word]) => (
            <option key={value} value={value}>
              {word}
            </option>
          ))}
        </select>
        ago
        <button type="submit" class="danger">
          Count and delete…
        </button>
      </form>
    </section>
  );
}

function Zones() {
  const [text, setText] = useState(zonePreference.value);
  const names = ['local', 'UTC', ...Intl.supportedValuesOf('timeZone')];
  const choose = (name: string): void => {
    setText(name);
    if (!isZone(name)) return;
    zonePreference.value = name;
    show({ tz: undefined }, { replace: true });
  };
  return (
    <label class="field">
      Time zone of all times (now {zone.value})
      <input
        list="zones"
        value={text}
        aria-invalid={!isZone(text)}
        onInput={(event) => choose(event.currentTarget.value)}
      />
      <datalist id="zones">
        {names.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
    </label>
  );
}

/** The page with the settings of this browser, the deletion of history, and the version. */
export function SettingsPage() {
  return (
    <div class="settings">
      <section class="frame" aria-labelledby="appearance">
        <h2 id="appearance">Appearance</h2>
        <fieldset class="states">
          <legend>Theme</legend>
          {themes.map((each) => (
            <button
              key={each}
              type="button"
              class="chip"
              aria-pressed={theme.value === each}
              onClick={() => setTheme(each)}
            >
              {each}
            </button>
          ))}
        </fieldset>
        <Zones />
        <ShortcutsSwitch />
      </section>
      {bootstrap.login !== null && bootstrap.roles.includes('admin') && <Strategies />}
      {may('delete') && <History />}
      <section class="frame" aria-labelledby="about">
        <h2 id="about">About</h2>
        <p>
          koa-taskflow {bootstrap.version}, environment <strong>{bootstrap.title}</strong>.{' '}
          {bootstrap.user === null
            ? 'Users do not sign in.'
            : `You are ${ownName}${bootstrap.mayAct ? '' : '. Your role is read only'}.`}
        </p>
        <p>
          <a href={client.url('/openapi.json')}>The API as OpenAPI</a>
        </p>
      </section>
    </div>
  );
}
