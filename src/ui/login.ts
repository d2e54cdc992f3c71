/** Improves the login page. Without this script, the page is a plain form. */

const password = document.querySelector<HTMLInputElement>('#password');
const message = document.querySelector<HTMLElement>('#message');
const submit = document.querySelector<HTMLButtonElement>('button[type=submit]');

function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  properties: Partial<HTMLElementTagNameMap[K]>,
): HTMLElementTagNameMap[K] {
  return Object.assign(document.createElement(name), properties);
}

/** Adds a button that shows the password. */
function showPassword(field: HTMLInputElement): void {
  const button = element('button', { type: 'button', className: 'show', textContent: 'Show' });
  button.setAttribute('aria-label', 'Show the password');
  button.setAttribute('aria-pressed', 'false');
  button.addEventListener('click', () => {
    const shown = field.type === 'text';
    field.type = shown ? 'password' : 'text';
    button.textContent = shown ? 'Show' : 'Hide';
    button.setAttribute('aria-pressed', String(!shown));
    field.focus();
  });
  field.form?.addEventListener('submit', () => {
    // Browsers store the values of text fields, but not those of password fields.
    field.type = 'password';
  });
  field.after(button);
}

/** Shows a hint while Caps Lock is on. */
function watchCapsLock(field: HTMLInputElement): void {
  const hint = element('p', { className: 'hint', hidden: true, textContent: 'Caps Lock is on.' });
  hint.setAttribute('role', 'status');
  field.after(hint);
  const look = (event: KeyboardEvent): void => {
    hint.hidden = !event.getModifierState?.('CapsLock');
  };
  field.addEventListener('keydown', look);
  field.addEventListener('keyup', look);
  field.addEventListener('blur', () => {
    hint.hidden = true;
  });
}

/** Counts down until the user may try again. */
function countDown(line: HTMLElement, button: HTMLButtonElement): void {
  const end = Date.now() + Number(line.dataset.retryAfter) * 1000;
  const tick = (): void => {
    const left = Math.ceil((end - Date.now()) / 1000);
    button.disabled = left > 0;
    button.textContent = left > 0 ? `Sign in (in ${left} s)` : 'Sign in';
    if (left <= 0) clearInterval(timer);
  };
  const timer = setInterval(tick, 1000);
  tick();
}

/** Tells the tab that waits for the sign-in, and closes this one if the browser allows that. */
function tellOtherTabs(): void {
  new BroadcastChannel(location.pathname).postMessage('signed in');
  window.close();
}

if (document.querySelector('#signed-in')) tellOtherTabs();
if (password) {
  watchCapsLock(password);
  showPassword(password);
}
if (message?.dataset.retryAfter && submit) countDown(message, submit);
