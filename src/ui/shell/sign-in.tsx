import { useEffect, useRef, useState } from 'preact/hooks';
import { goOn, signedOut } from '../live/connection.js';
import { base, facts } from '../state/bootstrap.js';

/** Signs in by the form of the login, which alone sets the cookie; says what went wrong, if anything. */
async function signIn(form: HTMLFormElement): Promise<string> {
  const body = new URLSearchParams([...new FormData(form)].map(([name, value]): [string, string] => [name, String(value)]));
  const response = await fetch(facts.loginUrl ?? '', { method: 'POST', body, redirect: 'manual' }).catch(() => undefined);
  if (!response) return 'The server cannot be reached.';
  // It answers with the page that was asked for, and whoever sees that is in.
  if (response.type === 'opaqueredirect') return '';
  if (response.status === 429) return `Too many attempts. Try again in ${response.headers.get('Retry-After') ?? 'some'} s.`;
  return response.status === 401 ? 'Invalid username or password.' : `It did not work (${response.status}).`;
}

/** The session has ended: the way back in, over what one was doing. */
export function SignIn() {
  const dialog = useRef<HTMLDialogElement>(null);
  const [error, setError] = useState('');
  const [busy, setBusy] = useState(false);
  const open = signedOut.value;
  useEffect(() => {
    if (open && !dialog.current?.open) dialog.current?.showModal();
    if (!open) dialog.current?.close();
  }, [open]);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    const form = event.currentTarget as HTMLFormElement;
    const wrong = await signIn(form);
    setBusy(false);
    setError(wrong);
    if (wrong !== '') return;
    const who = await fetch(`${base}/auth/session`).then(
      (answer) => answer.json() as Promise<{ username: string; strategy: string }>,
      () => undefined,
    );
    // Another user gets a page with the roles of that user, and so does one with the same name in another strategy.
    if (who?.username !== facts.user || who?.strategy !== facts.strategy) {
      location.reload();
      return;
    }
    form.reset();
    goOn();
  };
  return (
    <dialog ref={dialog} aria-labelledby="signed-out" onCancel={(event) => event.preventDefault()}>
      <h2 id="signed-out">Your session has ended</h2>
      {facts.loginUrl === null ? (
        <>
          <p>Sign in to go on where you were.</p>
          <button type="button" class="primary" onClick={() => location.reload()}>
            Sign in
          </button>
        </>
      ) : (
        <form onSubmit={(event) => void submit(event)}>
          <p>Sign in to go on where you were.</p>
          {error !== '' && (
            <p class="error-box" role="alert">
              {error}
            </p>
          )}
          <label class="field">
            Username
            <input name="username" autocomplete="username" defaultValue={facts.user ?? ''} required maxLength={256} />
          </label>
          <label class="field">
            Password
            <input name="password" type="password" autocomplete="current-password" required maxLength={1024} />
          </label>
          <div class="dialog-buttons">
            <button type="submit" class="primary" disabled={busy}>
              {busy ? 'Signing in…' : 'Sign in'}
            </button>
          </div>
        </form>
      )}
    </dialog>
  );
}
