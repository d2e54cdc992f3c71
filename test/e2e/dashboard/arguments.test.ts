import { expect, it } from '@jest/globals';
import { taskLog } from '../../../src/index.js';
import { useDashboard } from '../../helpers/dashboard.js';
import { waitFor } from '../../helpers/wait.js';

const board = useDashboard({ database: ':memory:' }, false);

it('keeps arguments out of every answer, event, page and export where they are not to be shown', async () => {
  const { page, tasks } = board;
  const secret = 'canary-4111-1111';
  const received: string[] = [];
  page.on('response', (response) => {
    if (!response.url().endsWith('/stream'))
      void response.text().then(
        (text) => received.push(text),
        () => {},
      );
  });
  await page.addInitScript(() => {
    // What the stream says is read by the page alone.
    const decode = TextDecoder.prototype.decode;
    Object.assign(window, { decoded: '' });
    TextDecoder.prototype.decode = function (...args) {
      const text = decode.apply(this, args);
      (window as unknown as { decoded: string }).decoded += text;
      return text;
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
  for (const search of ['', '?view=tasks', '?view=failures', '?view=schedules', '?view=functions', '?view=queues', '?view=audit'])
    await board.visit(search);
  for (const tab of ['summary', 'logs', 'data', 'facts']) {
    await board.visit(`?tab=${tab}&task=${id}`);
    await board.panel.locator('[role=tabpanel]').waitFor();
  }
  await board.visit(`?tab=data&task=${id}`);
  await board.panel.getByText('Arguments are not shown').waitFor();
  for (const format of ['csv', 'ndjson'])
    received.push(await (await page.request.get(`${board.served.url}/tasks/export?format=${format}`)).text());
  received.push(await page.content());
  expect(received.length).toBeGreaterThan(20);
  expect(received.some((text) => text.includes('declined'))).toBe(true);
  expect(received.filter((text) => text.includes(secret))).toEqual([]);
  // Run again without a look at them, it has them all the same.
  await board.panel.getByRole('button', { name: 'Edit & retry' }).click();
  await page.locator('dialog[open]').getByText('Left empty, the new task has the same ones.').waitFor();
  await page.locator('dialog[open]').getByRole('button', { name: 'Run as a new task' }).click();
  await page.getByText('A new charge is queued.').waitFor();
  await waitFor(async () => {
    const { items } = await tasks.find({ name: 'charge', limit: 5 });
    const again = items.find((task) => task.id !== id);
    return again !== undefined && (await tasks.get(again.id))?.args[0] === secret;
  });
});
