import { useState } from 'preact/hooks';
import type { ShownTask } from '../../../client/client.js';
import { FormError, openDialog, useSubmit } from '../../kit/dialog.js';
import { notify } from '../../kit/notices.js';
import { bootstrap, client } from '../../state/bootstrap.js';
import { linkTo } from '../../state/view.js';
import { reloadTask } from '../task/opened.js';

/** Opens a dialog that creates a copy of a task with edited arguments. */
export function rerunTask(task: ShownTask): Promise<void> {
  return openDialog(`Run ${task.name} again as a new task`, (close) => (
    <Rerun task={task} close={close} />
  ));
}

function Rerun({ task, close }: { task: ShownTask; close: () => void }) {
  const shown = task.args !== undefined;
  const before = shown ? JSON.stringify(task.args, null, 2) : '';
  const [text, setText] = useState(before);
  const { args, fault } = readArgs(text, shown);
  const changes =
    fault === '' && text.trim() !== '' && shown
      ? differences(before, JSON.stringify(args, null, 2))
      : [];
  const { busy, error, submit } = useSubmit(close, async () => {
    const made = await client.rerun(task.id, args === undefined ? {} : { args });
    reloadTask();
    notify(`A new ${task.name} is queued.`, {
      link: { text: 'Open it', href: linkTo({ task: made.id }) },
    });
  });
  return (
    <form onSubmit={submit}>
      <h2>
        Edit & retry <em>{task.name}</em> <span class="title">{bootstrap.title}</span>
      </h2>
      <p>This creates a new task and keeps this one. Each links to the other.</p>
      <label class="field">
        Arguments, as a JSON list
        <textarea
          class="mono"
          rows={Math.min(16, Math.max(5, text.split('\n').length))}
          value={text}
          spellcheck={false}
          aria-invalid={fault !== ''}
          aria-describedby="args-fault"
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
      <p id="args-fault" class="field-fault" role="status">
        {fault !== ''
          ? fault
          : shown
            ? ''
            : 'Arguments are hidden here. If you leave this empty, the new task gets the same ' +
              'ones.'}
      </p>
      {changes.length > 0 && (
        <section aria-label="What is different">
          <pre class="diff" tabIndex={0}>
            {changes.map(({ sign, line }, n) => (
              <span key={n} class={sign === '-' ? 'minus' : 'plus'}>
                {sign} {line}
                {'\n'}
              </span>
            ))}
          </pre>
        </section>
      )}
      <FormError error={error} />
      <div class="dialog-buttons">
        <button type="button" onClick={close}>
          Cancel
        </button>
        <button type="submit" class="primary" disabled={busy || fault !== ''}>
          {busy ? 'Working…' : 'Run as a new task'}
        </button>
      </div>
    </form>
  );
}

/** Parses the arguments. Returns them, or the fault of the text. */
function readArgs(text: string, required: boolean): { args?: unknown[]; fault: string } {
  if (text.trim() === '')
    return { fault: required ? 'Enter a list, such as [] for no arguments.' : '' };
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value)
      ? { args: value, fault: '' }
      : { fault: 'The arguments are a list: put them in [ ].' };
  } catch (error) {
    return { fault: `This is not JSON: ${(error as Error).message}` };
  }
}

/** Returns the lines in which two texts differ, by their longest common subsequence. */
function differences(before: string, after: string): { sign: '-' | '+'; line: string }[] {
  const [a, b] = [before.split('\n').slice(0, 400), after.split('\n').slice(0, 400)];
  const common = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  const at = (i: number, j: number): number => common[i]?.[j] ?? 0;
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      (common[i] as Uint16Array)[j] =
        a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  const found: { sign: '-' | '+'; line: string }[] = [];
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      i += 1;
      j += 1;
    } else if (j >= b.length || (i < a.length && at(i + 1, j) >= at(i, j + 1)))
      found.push({ sign: '-', line: a[i++] ?? '' });
    else found.push({ sign: '+', line: b[j++] ?? '' });
  }
  return found;
}
