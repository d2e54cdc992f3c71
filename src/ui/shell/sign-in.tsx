import { useEffect, useRef, useState } from 'preact/hooks';
import { resume, signedOut } from '../live/connection.js';
import { base, bootstrap } from '../state/bootstrap.js';

/** Submits the login form, which sets the cookie. Returns the error text, or an empty string. */
async function signIn(form: HTMLFormElement): Promise<string> {
  const body = new URLSearchParams(
    [...new FormData(form)].map(([name, value]): [string, string] => [name, String(value)]),
  );
  const response = await fetch(bootstrap.loginUrl ?? '', {
    method: 'POST',
    body,
    redirect: 'manual',
  }).catch(() => undefined);
  if (!response) return 'The server is unreachable.';
  // A successful login answers with a redirect.
  if (response.type === 'opaqueredirect') return '';
  if (response.status === 429)
    return `Too many attempts. Try again in ${response.headers.get('Retry-After') ?? 'some'} s.`;
  return response.status === 401
    ? 'Invalid username or password.'
    : `Signing in failed (${response.status}).`;
}

/** When the session has ended, asks the user to sign in again in a dialog over the page. */
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
    // Another user, or the same name in another strategy, may have other roles, so the page is
    // loaded again.
    if (who?.username !== bootstrap.user || who?.strategy !== bootstrap.strategy) {
      location.reload();
      return;
    }
    form.reset();
    resume();
  };
  return (
    <dialog ref={dialog} aria-labelledby="signed-out" onCancel={(event) => event.preventDefault()}>
      <h2 id="signed-out">Your session has ended</h2>
      {bootstrap.loginUrl === null ? (
        <>
          <p>Sign in to continue.</p>
          <button type="button" class="primary" onClick={() => location.reload()}>
            Sign in
          </button>
        </>
      ) : (
        <form onSubmit={(event) => void submit(event)}>
          <p>Sign in to continue.</p>
          {error !== '' && (
            <p class="error-box" role="alert">
              {error}
            </p>
          )}
          <label class="field">
            User name
            <input
              name="username"
              autocomplete="username"
              defaultValue={bootstrap.user ?? ''}
              required
              maxLength={256}
            />
          </label>
          <label class="field">
            Password
            <input
              name="password"
              type="password"
              autocomplete="current-password"
              required
              maxLength={1024}
            />
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
