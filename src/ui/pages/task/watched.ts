import { signal } from '@preact/signals';
import type { TaskSummary } from '../../../client/client.js';
import { shortId } from '../../kit/formats.js';
import { notify, showError } from '../../kit/notices.js';
import { listen } from '../../live/connection.js';
import { client } from '../../state/bootstrap.js';
import { linkTo, show } from '../../state/view.js';

/** Ids of tasks whose end is announced, by the page and, if allowed, by the browser. */
export const watched = signal<ReadonlySet<string>>(new Set());

/** Starts or stops watching a task. */
export async function toggleWatch({ id, name }: TaskSummary): Promise<void> {
  if (watched.peek().has(id)) {
    forget(id);
    return;
  }
  watched.value = new Set([...watched.peek(), id]);
  const allowed = await askBrowser();
  notify(
    `You will be notified here when ${name} ` +
      `ends${allowed ? ', and by the browser' : '. Notifications of the browser are not allowed'}.`,
  );
  // The task may have ended while the browser asked the user.
  await check(id);
}

function forget(id: string): void {
  watched.value = new Set([...watched.peek()].filter((other) => other !== id));
}

/**
 * Asks for permission to send notifications. Browsers allow them only over HTTPS and on localhost.
 */
async function askBrowser(): Promise<boolean> {
  return 'Notification' in window && (await Notification.requestPermission()) === 'granted';
}

function takeEnd(task: TaskSummary): void {
  if (!watched.peek().has(task.id) || task.endedAt === null) return;
  forget(task.id);
  const text = `${task.name} ${shortId(task.id)}: ${task.status}`;
  notify(text, {
    link: { text: 'Show', href: linkTo({ task: task.id, tab: 'summary', attempt: undefined }) },
  });
  if (!('Notification' in window) || Notification.permission !== 'granted') return;
  const note = new Notification(text, {
    tag: task.id,
    ...(task.error && { body: task.error.name }),
  });
  note.onclick = () => {
    window.focus();
    show({ task: task.id, tab: 'summary', attempt: undefined });
    note.close();
  };
}

async function check(id: string): Promise<void> {
  await client.get(id, { logs: 0 }).then(takeEnd, showError);
}

function checkAll(): void {
  for (const id of watched.peek()) void check(id);
}

/** Announces the end of watched tasks as long as the page is open. */
export function notifyWatched(): void {
  listen({
    always({ upserts, removed, dropped }) {
      for (const task of upserts) takeEnd(task);
      for (const id of removed) forget(id);
      if (dropped > 0) checkAll();
    },
    reload: checkAll,
  });
}
