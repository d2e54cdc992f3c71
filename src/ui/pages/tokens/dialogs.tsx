import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { FormError, openDialog, useSubmit } from '../../kit/dialog.js';
import { Time } from '../../kit/time.js';
import { bootstrap } from '../../state/bootstrap.js';
import { type ApiToken, type CreatedToken, loginCalls } from '../../state/login-calls.js';

/*
 * The dialogs that create and rotate a token. The new token is only in the open dialog: not in the
 * address, a notice or the storage of the browser.
 */

/** Opens the dialog that creates a token. Resolves when it is closed. */
export function createToken(): Promise<void> {
  return openDialog('Create an API token', (close) => <Create close={close} />);
}

/** Opens the dialog that replaces a token by a new one. Resolves when it is closed. */
export function rotateToken(token: ApiToken): Promise<void> {
  return openDialog(`Rotate ${token.name}`, (close) => <Rotate token={token} close={close} />);
}

const day = 86_400;

/** Returns the roles that the user can give to a token. Every token may read. */
function ownRoles(): string[] {
  const ladder = ['operator', 'admin'];
  const rank = Math.max(...bootstrap.roles.map((role) => ladder.indexOf(role)), -1);
  const others = bootstrap.roles.filter((role) => role !== 'viewer' && !ladder.includes(role));
  return [...ladder.slice(0, rank + 1), ...others];
}

function Create({ close }: { close: () => void }) {
  const [name, setName] = useState('');
  const [roles, setRoles] = useState<readonly string[]>([]);
  const [days, setDays] = useState(30);
  const toggle = (role: string): void =>
    setRoles(roles.includes(role) ? roles.filter((each) => each !== role) : [...roles, role]);
  return (
    <TokenForm
      title="Create an API token"
      button="Create token"
      close={close}
      act={() => loginCalls.createToken({ name: name.trim(), roles, expiresIn: days * day })}
    >
      <label class="field">
        What is the token for?
        <input
          value={name}
          required
          maxLength={100}
          autocomplete="off"
          autofocus
          onInput={(event) => setName(event.currentTarget.value)}
        />
      </label>
      <fieldset class="states">
        <legend>Roles. Without a role, the token may only read.</legend>
        {ownRoles().map((role) => (
          <label key={role} class="check">
            <input type="checkbox" checked={roles.includes(role)} onChange={() => toggle(role)} />
            {role}
          </label>
        ))}
      </fieldset>
      <label class="field">
        Days until it expires
        <input
          type="number"
          min={1}
          max={3650}
          required
          value={days}
          onInput={(event) => setDays(event.currentTarget.valueAsNumber)}
        />
      </label>
    </TokenForm>
  );
}

/** Seconds for which the old token can stay valid, with their labels. */
const keeping: readonly [number, string][] = [
  [0, '0 minutes: it ends at once'],
  [600, '10 minutes'],
  [3600, '1 hour'],
  [day, '1 day'],
];

function Rotate({ token: { id, name }, close }: { token: ApiToken; close: () => void }) {
  const [keepOldFor, setKeepOldFor] = useState(0);
  return (
    <TokenForm
      title={`Rotate ${name}`}
      button="Rotate token"
      close={close}
      act={() => loginCalls.rotateToken(id, keepOldFor)}
    >
      <p>A new token with the same name, roles and lifetime replaces this one.</p>
      <label class="field">
        Keep the old token valid for
        <select
          value={keepOldFor}
          autofocus
          onChange={(event) => setKeepOldFor(Number(event.currentTarget.value))}
        >
          {keeping.map(([seconds, words]) => (
            <option key={seconds} value={seconds}>
              {words}
            </option>
          ))}
        </select>
      </label>
    </TokenForm>
  );
}

interface TokenFormProps {
  title: string;
  button: string;
  close: () => void;
  act: () => Promise<CreatedToken>;
  children: ComponentChildren;
}

/** A form that makes a token, and then shows it. */
function TokenForm({ title, button, close, act, children }: TokenFormProps) {
  const [created, setCreated] = useState<CreatedToken | undefined>(undefined);
  const { busy, error, submit } = useSubmit(
    () => {},
    async () => setCreated(await act()),
  );
  if (created) return <Created created={created} close={close} />;
  return (
    <form onSubmit={submit} autocomplete="off">
      <h2>
        {title} <span class="title">{bootstrap.title}</span>
      </h2>
      {children}
      <FormError error={error} />
      <div class="dialog-buttons">
        <button type="button" onClick={close}>
          Cancel
        </button>
        <button type="submit" class="primary" disabled={busy}>
          {busy ? 'Working…' : button}
        </button>
      </div>
    </form>
  );
}

/** Shows a new token, which cannot be shown again. */
function Created({ created, close }: { created: CreatedToken; close: () => void }) {
  const { name, token, expiresAt } = created;
  const field = useRef<HTMLInputElement>(null);
  const [outcome, setOutcome] = useState('');
  useEffect(() => field.current?.select(), []);
  const copy = (): void => {
    const failed = (): void =>
      setOutcome('The browser did not allow copying. Select the token and copy it yourself.');
    if (!navigator.clipboard) failed();
    else
      void navigator.clipboard
        .writeText(token)
        .then(() => setOutcome('The token is copied.'), failed);
  };
  return (
    <>
      <h2>
        API token {name} <span class="title">{bootstrap.title}</span>
      </h2>
      <p>Copy the token now. It is not shown again.</p>
      <label class="field">
        Token
        <input ref={field} class="mono" readonly value={token} spellcheck={false} />
      </label>
      <p>
        It expires on <Time at={expiresAt} form="full" />.
      </p>
      <p role="status">{outcome}</p>
      <div class="dialog-buttons">
        <button type="button" onClick={copy}>
          Copy token
        </button>
        <button type="button" class="primary" onClick={close}>
          Done
        </button>
      </div>
    </>
  );
}
