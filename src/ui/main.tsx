import { effect } from '@preact/signals';
import { render } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { Counts } from './counts.js';
import { Detail } from './detail.js';
import { Header } from './header.js';
import { followAgain, stayLive } from './live.js';
import { Filters, TaskTable } from './table.js';
import { loadMetrics, loadTable, loadTask, notice, signedOut } from './tasks.js';
import { view, viewQuery } from './view.js';

/** Nothing on the page can be trusted to be current any more, so nothing but the way back in is offered. */
function SignedOut() {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (signedOut.value) dialog.current?.showModal();
  }, [signedOut.value]);
  return (
    <dialog ref={dialog} aria-labelledby="signed-out" onCancel={(event) => event.preventDefault()}>
      <h2 id="signed-out">Your session has ended</h2>
      <p>Sign in to go on where you were.</p>
      <button type="button" class="primary" onClick={() => location.assign(viewQuery(view.value))}>
        Sign in
      </button>
    </dialog>
  );
}

function App() {
  return (
    <>
      <Header />
      <main class={view.value.task === undefined ? '' : 'with-detail'}>
        <div class="list">
          <Counts />
          <Filters />
          <TaskTable />
        </div>
        <Detail />
      </main>
      <div class="notices">
        <p role="status">{notice.value && !notice.value.failed ? notice.value.text : ''}</p>
        <p role="alert">{notice.value?.failed ? notice.value.text : ''}</p>
      </div>
      <SignedOut />
    </>
  );
}

let filters: string | undefined;
effect(() => {
  const { task: _task, ...shown } = view.value;
  const asked = JSON.stringify(shown);
  if (asked !== filters) void loadTable();
  filters = asked;
});

let followed: string | undefined;
effect(() => {
  const { task } = view.value;
  if (task === followed) return;
  followed = task;
  void loadTask(task);
  followAgain();
});

const root = document.getElementById('app');
if (root) {
  root.replaceChildren();
  render(<App />, root);
}
void loadMetrics();
void stayLive();
