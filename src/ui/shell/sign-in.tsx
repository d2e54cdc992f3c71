import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { resume } from '../live/connection.js';
import { base, bootstrap, ownName, signedInUser } from '../state/bootstrap.js';
import { endSignIn, isWaiting, signInReason } from '../state/sign-in.js';

/*
 * The dialog in which users sign in again over the page. It has a form for password strategies.
 * Providers open in a new tab, whose last page (`auth/done`) sends a message to this page. The
 * session decides, not the message: if it belongs to the same user, the page continues, and the
 * refused command is sent again. If it belongs to another user, the page is reloaded.
 */

const methods = bootstrap.loginUrl === null ? [] : (bootstrap.login?.methods ?? []);
const passwords = methods.filter(({ kind }) => kind === 'password');
const providers = methods.filter(({ kind }) => kind === 'redirect');

/** The last page of a sign-in at a provider. Its path is also the name of the channel. */
const done = `${base}/auth/done`;

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

/** Continues if the user of the page has signed in. Returns whether another user has signed in. */
async function goOn(): Promise<boolean> {
  const user = await signedInUser();
  if (user === 'same') resume();
  // The page has the name and the roles of its user, so another user needs a new page.
  if (user === 'other' && !isWaiting()) location.reload();
  return user === 'other' && isWaiting();
}

/** Asks the user to sign in over the page, if the session has ended or is too old. */
export function SignIn() {
  const dialog = useRef<HTMLDialogElement>(null);
  const [isOther, setIsOther] = useState(false);
  const reason = signInReason.value;
  const check = (): void => void goOn().then(setIsOther);
  useLayoutEffect(() => {
    if (!reason) {
      dialog.current?.close();
      return;
    }
    const show = (): void => {
      if (signInReason.peek() && !dialog.current?.open) dialog.current?.showModal();
    };
    // A request can be refused because another tab has just replaced the session.
    if (reason.isOld) show();
    else void goOn().then(setIsOther).then(show);
    const channel = new BroadcastChannel(done);
    channel.onmessage = check;
    // The session can also begin elsewhere, such as in a tab whose sign-in failed at first.
    const onReturn = (): void => {
      if (!document.hidden && !reason.isOld) check();
    };
    document.addEventListener('visibilitychange', onReturn);
    return () => {
      channel.close();
      document.removeEventListener('visibilitychange', onReturn);
    };
  }, [reason]);
  return (
    <dialog
      ref={dialog}
      aria-labelledby="signed-out"
      onCancel={(event) => {
        event.preventDefault();
        if (reason?.isOld) endSignIn(false);
      }}
      onClose={() => {
        // Browsers close a dialog after a second Escape, even if the page prevents it.
        if (signInReason.peek()) dialog.current?.showModal();
      }}
    >
      {reason && <Content isOld={reason.isOld} isOther={isOther} check={check} />}
    </dialog>
  );
}

interface ContentProps {
  /** Whether the session is too old for a command. Otherwise, it has ended. */
  isOld: boolean;
  /** Whether another user has signed in. */
  isOther: boolean;
  /** Checks whether the user has signed in. */
  check: () => void;
}

function Content({ isOld, isOther, check }: ContentProps) {
  if (isOther)
    return (
      <>
        <h2 id="signed-out">Another user has signed in</h2>
        <p>The last action of {ownName} was not done.</p>
        <Reload text="Continue as the other user" />
      </>
    );
  return (
    <>
      <h2 id="signed-out">{isOld ? 'Sign in again' : 'Your session has ended'}</h2>
      <p>
        {isOld
          ? 'For this action, you must have signed in within the last 15 minutes.'
          : 'Sign in to continue.'}
        {isWaiting() &&
          (methods.length > 0
            ? ' After that, your last action is repeated.'
            : ' Your last action was not done.')}
      </p>
      {methods.length === 0 && <Reload text="Sign in" />}
      {passwords.length > 0 && <PasswordForm signedIn={check} />}
      {providers.length > 0 && <Providers />}
      {isOld && (
        <button type="button" onClick={() => endSignIn(false)}>
          Cancel
        </button>
      )}
    </>
  );
}

function Reload({ text }: { text: string }) {
  return (
    <button type="button" class="primary" onClick={() => location.reload()}>
      {text}
    </button>
  );
}

/** The links to the providers, each in a new tab. Browsers block no link that a user follows. */
function Providers() {
  const [isOpened, setIsOpened] = useState(false);
  return (
    <>
      {providers.map(({ name, label }) => (
        <a
          key={name}
          class="button"
          href={`${base}/auth/start/${name}?next=${encodeURIComponent(done)}`}
          target="_blank"
          rel="noopener"
          onClick={() => setIsOpened(true)}
        >
          Sign in with {label}
        </a>
      ))}
      {isOpened && <p role="status">Use the new tab to sign in. This page then continues.</p>}
    </>
  );
}

function PasswordForm({ signedIn }: { signedIn: () => void }) {
  const [error, setError] = useState('');
  const [busy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    const form = event.currentTarget as HTMLFormElement;
    const wrong = await signIn(form);
    setBusy(false);
    setError(wrong);
    if (wrong !== '') return;
    form.reset();
    signedIn();
  };
  return (
    <form onSubmit={(event) => void submit(event)}>
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
          autofocus
        />
      </label>
      {passwords.length > 1 && (
        <label class="field">
          Sign-in method
          <select name="strategy">
            <option value="">Any method</option>
            {passwords.map(({ name, label }) => (
              <option key={name} value={name} selected={name === bootstrap.strategy}>
                {label}
              </option>
            ))}
          </select>
        </label>
      )}
      <div class="dialog-buttons">
        <button type="submit" class="primary" disabled={busy}>
          {busy ? 'Signing in…' : 'Sign in'}
        </button>
      </div>
    </form>
  );
}
