import { type Signal, signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { facts } from '../state/bootstrap.js';
import { isSignedOut, wordsOf } from './notices.js';

/** What is asked of the person, over the page. */
interface Asked {
  n: number;
  content: (close: () => void) => ComponentChildren;
  label: string;
  closed: () => void;
}

const asked = signal<Asked | undefined>(undefined);
let opened = 0;

/** Whether something is asked over the page. */
export function isAsking(): boolean {
  return asked.peek() !== undefined;
}

/** Opens a dialog; resolves when it is closed. */
export function openDialog(label: string, content: (close: () => void) => ComponentChildren): Promise<void> {
  const n = ++opened;
  return new Promise((resolve) => {
    asked.value = {
      n,
      label,
      content,
      closed() {
        // The event comes a moment after the dialog is gone: the next one may be open by then.
        if (asked.peek()?.n === n) asked.value = undefined;
        resolve();
      },
    };
  });
}

/** The one dialog of the page. */
export function Dialog() {
  const current = asked.value;
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = box.current;
    if (current && dialog && !dialog.open) dialog.showModal();
  }, [current]);
  if (!current) return null;
  const close = (): void => box.current?.close();
  return (
    // Each has an element of its own: the end of one that was closed a moment ago is not that of the next.
    <dialog key={current.n} ref={box} aria-label={current.label} onClose={() => current.closed()}>
      {current.content(close)}
    </dialog>
  );
}

/** The form of a dialog: it stays while something is done, shows what went wrong in place, and is closed when it is done. */
export function useSubmit(close: () => void, act: () => Promise<void>): { busy: boolean; error: string; submit: (event: Event) => void } {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  const run = async (): Promise<void> => {
    setBusy(true);
    setError('');
    try {
      await act();
      close();
    } catch (thrown) {
      if (isSignedOut(thrown)) close();
      else setError(wordsOf(thrown));
      setBusy(false);
    }
  };
  const submit = (event: Event): void => {
    event.preventDefault();
    void run();
  };
  return { busy, error, submit };
}

/** What went wrong. */
export function Fault({ error }: { error: string }) {
  if (error === '') return null;
  return (
    <p class="error-box" role="alert">
      {error}
    </p>
  );
}

/** What a confirmation says and does. */
export interface Confirmation {
  title: string;
  /** What will happen, with its number and its consequence. */
  body: () => ComponentChildren;
  /** The verb and the number, as the button repeats them. */
  button: () => string;
  /** The label of the button that changes nothing. Default `Cancel`. */
  keep?: string;
  danger?: boolean;
  /** A reason for the audit may be given. */
  asksReason?: boolean;
  /** What must be typed, where nothing can be undone. */
  typed?: string | undefined;
  /** More than the reason is asked. */
  fields?: () => ComponentChildren;
  /** Does it, while the dialog stays open and shows how far it is; what it throws is shown in place. */
  act(reason: string | undefined, progress: Signal<string>): Promise<void>;
}

/** Asks before something is done, does it, and shows how that went. */
export function confirmed(confirmation: Confirmation): Promise<void> {
  return openDialog(confirmation.title, (close) => <Confirm confirmation={confirmation} close={close} />);
}

function Confirm({ confirmation, close }: { confirmation: Confirmation; close: () => void }) {
  const { title, body, button, keep = 'Cancel', danger, asksReason, typed, fields, act } = confirmation;
  const [reason, setReason] = useState('');
  const [words, setWords] = useState('');
  const [progress] = useState(() => signal(''));
  const { busy, error, submit } = useSubmit(close, () => act(reason === '' ? undefined : reason, progress));
  return (
    <form onSubmit={submit}>
      <h2>
        {title} <span class="title">{facts.title}</span>
      </h2>
      <div class="dialog-body">{body()}</div>
      {fields?.()}
      {asksReason && (
        <label class="field">
          Reason, for the audit (optional)
          <input value={reason} maxLength={500} onInput={(event) => setReason(event.currentTarget.value)} />
        </label>
      )}
      {typed !== undefined && (
        <label class="field">
          Type <strong>{typed}</strong> to go on
          <input value={words} autocomplete="off" onInput={(event) => setWords(event.currentTarget.value)} />
        </label>
      )}
      {progress.value !== '' && <p role="status">{progress.value}</p>}
      <Fault error={error} />
      <div class="dialog-buttons">
        <button type="button" autofocus onClick={close}>
          {keep}
        </button>
        <button type="submit" class={danger ? 'danger' : 'primary'} disabled={busy || (typed !== undefined && words !== typed)}>
          {busy ? 'Working…' : button()}
        </button>
      </div>
    </form>
  );
}
