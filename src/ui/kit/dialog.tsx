import { type Signal, signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { describeError, observe } from './notices.js';

/**
 * Renders the content of a dialog. Receives the function that closes the dialog and the name of the
 * environment.
 */
type Content = (close: () => void, environment: string) => ComponentChildren;

/** A dialog over the page. */
interface OpenedDialog {
  n: number;
  content: Content;
  label: string;
  closed: () => void;
}

const openedDialog = signal<OpenedDialog | undefined>(undefined);
let lastNumber = 0;

/** Whether a dialog is open. */
export function isDialogOpen(): boolean {
  return openedDialog.peek() !== undefined;
}

/** Opens a dialog. Resolves when it is closed. */
export function openDialog(label: string, content: Content): Promise<void> {
  const n = ++lastNumber;
  return new Promise((resolve) => {
    openedDialog.value = {
      n,
      label,
      content,
      closed() {
        // The close event fires shortly after the dialog closes. The next dialog may already be
        // open then.
        if (openedDialog.peek()?.n === n) openedDialog.value = undefined;
        resolve();
      },
    };
  });
}

/** The only dialog of the page. Confirmations name the environment, such as "Test shop". */
export function Dialog({ environment }: { environment: string }) {
  const current = openedDialog.value;
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = box.current;
    if (current && dialog && !dialog.open) dialog.showModal();
  }, [current]);
  if (!current) return null;
  const close = (): void => box.current?.close();
  return (
    // Each dialog has its own element, so that the close event of the previous dialog does not
    // reach the next one.
    <dialog key={current.n} ref={box} aria-label={current.label} onClose={() => current.closed()}>
      {current.content(close, environment)}
    </dialog>
  );
}

/**
 * Submits the form of a dialog. The dialog stays open while `act` runs, shows its error, and closes
 * when it succeeds.
 */
export function useSubmit(
  close: () => void,
  act: () => Promise<void>,
): { busy: boolean; error: string; submit: (event: Event) => void } {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  const run = async (): Promise<void> => {
    setBusy(true);
    setError('');
    try {
      await act();
      close();
    } catch (thrown) {
      observe(thrown);
      setError(describeError(thrown));
      setBusy(false);
    }
  };
  const submit = (event: Event): void => {
    event.preventDefault();
    void run();
  };
  return { busy, error, submit };
}

/** The error of a form, if there is one. */
export function FormError({ error }: { error: string }) {
  if (error === '') return null;
  return (
    <p class="error-box" role="alert">
      {error}
    </p>
  );
}

/** The texts and the action of a confirmation. */
export interface Confirmation {
  title: string;
  /** What will happen, with the number of tasks and the consequence. */
  body: () => ComponentChildren;
  /** The label of the button: verb and number, as in the title. */
  button: () => string;
  /** The label of the button that changes nothing. Default `Cancel`. */
  keep?: string;
  danger?: boolean;
  /** Whether the user may enter a reason for the audit. */
  asksReason?: boolean;
  /** What the user must type, if the action cannot be undone. */
  typed?: string | undefined;
  /** Further fields of the form. */
  fields?: () => ComponentChildren;
  /**
   * Performs the action. The dialog stays open, shows the progress, and shows the error if the
   * action fails.
   */
  act(reason: string | undefined, progress: Signal<string>): Promise<void>;
}

/** Asks the user to confirm an action, and performs it. */
export function confirmed(confirmation: Confirmation): Promise<void> {
  return openDialog(confirmation.title, (close, environment) => (
    <Confirm confirmation={confirmation} close={close} environment={environment} />
  ));
}

interface ConfirmProps {
  confirmation: Confirmation;
  close: () => void;
  environment: string;
}

function Confirm({ confirmation, close, environment }: ConfirmProps) {
  const {
    title,
    body,
    button,
    keep = 'Cancel',
    danger,
    asksReason,
    typed,
    fields,
    act,
  } = confirmation;
  const [reason, setReason] = useState('');
  const [words, setWords] = useState('');
  const [progress] = useState(() => signal(''));
  const { busy, error, submit } = useSubmit(close, () =>
    act(reason === '' ? undefined : reason, progress),
  );
  return (
    <form onSubmit={submit}>
      <h2>
        {title} <span class="title">{environment}</span>
      </h2>
      <div class="dialog-body">{body()}</div>
      {fields?.()}
      {asksReason && (
        <label class="field">
          Reason, for the audit (optional)
          <input
            value={reason}
            maxLength={500}
            onInput={(event) => setReason(event.currentTarget.value)}
          />
        </label>
      )}
      {typed !== undefined && (
        <label class="field">
          Type <strong>{typed}</strong> to confirm
          <input
            value={words}
            autocomplete="off"
            onInput={(event) => setWords(event.currentTarget.value)}
          />
        </label>
      )}
      {progress.value !== '' && <p role="status">{progress.value}</p>}
      <FormError error={error} />
      <div class="dialog-buttons">
        <button type="button" autofocus onClick={close}>
          {keep}
        </button>
        <button
          type="submit"
          class={danger ? 'danger' : 'primary'}
          disabled={busy || (typed !== undefined && words !== typed)}
        >
          {busy ? 'Working…' : button()}
        </button>
      </div>
    </form>
  );
}
