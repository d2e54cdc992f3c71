import { expect, it } from '@jest/globals';
import { taskLog } from '../../../src/index.js';
import { useDashboard } from '../../helpers/dashboard.js';
import { waitFor } from '../../helpers/wait.js';

const board = useDashboard({ database: ':memory:' }, false);

it('the dashboard keeps hidden arguments out of answers, events, pages and exports', async () => {
  const { page, tasks } = board;
  const secret = 'canary-4111-1111';
  const answers: Promise<string>[] = [];
  page.on('response', (response) => {
    // A redirect has no body, and the answer of a previous page may be gone.
    if (!response.headers()['content-type']?.startsWith('text/event-stream'))
      answers.push(response.text().catch(() => ''));
  });
  // Only the page itself can read the events of the stream.
  const streamed: string[] = [];
  await page.exposeFunction('heard', (text: string) => void streamed.push(text));
  await page.addInitScript(() => {
    const { heard } = window as unknown as { heard(text: string): void };
    window.TextDecoderStream = class extends TextDecoderStream {
      override get readable(): ReadableStream<string> {
        const tap = new TransformStream<string, string>({
          transform(text, controller) {
            heard(text);
            controller.enqueue(text);
          },
        });
        return super.readable.pipeThrough(tap);
      }
    };
  });
  const bad = tasks.task('charge', (_card: string) => {
    taskLog('charging');
    throw new Error('declined');
  });
  tasks.schedule('daily', bad, { every: 86_400, args: [secret] });
  await board.signIn();
  const id = await bad.enqueue(secret);
  await waitFor(async () => (await tasks.get(id))?.status === 'failed');
  for (const search of [
    '',
    '?view=tasks',
    '?view=failures',
    '?view=schedules',
    '?view=functions',
    '?view=queues',
    '?view=audit',
  ])
    await board.visit(search);
  for (const tab of ['summary', 'logs', 'data', 'facts']) {
    await board.visit(`?tab=${tab}&task=${id}`);
    await board.panel.locator('[role=tabpanel]').waitFor();
  }
  await board.visit(`?tab=data&task=${id}`);
  await board.panel.getByText('Arguments are not shown').waitFor();
  for (const format of ['csv', 'ndjson'])
    answers.push(
      page.request
        .get(`${board.served.url}/tasks/export?format=${format}`)
        .then((answer) => answer.text()),
    );
  // The page still listens when this attempt ends.
  await tasks.control({ action: 'retry', ids: [id] }, { actor: 'test' });
  await waitFor(() => streamed.join('').includes('declined'));
  const received = [...(await Promise.all(answers)), await page.content()];
  expect(received.length).toBeGreaterThan(20);
  expect(received.some((text) => text.includes('declined'))).toBe(true);
  expect([...received, streamed.join('')].filter((text) => text.includes(secret))).toEqual([]);
  // The rerun keeps the arguments even though the page does not show them.
  await board.panel.getByRole('button', { name: 'Edit & retry' }).click();
  await page
    .locator('dialog[open]')
    .getByText('If you leave this empty, the new task gets the same ones.')
    .waitFor();
  await page.locator('dialog[open]').getByRole('button', { name: 'Run as a new task' }).click();
  await page.getByText('A new charge is queued.').waitFor();
  await waitFor(async () => {
    const { items } = await tasks.find({ name: 'charge', limit: 5 });
    const again = items.find((task) => task.id !== id);
    return again !== undefined && (await tasks.get(again.id))?.args[0] === secret;
  });
});
