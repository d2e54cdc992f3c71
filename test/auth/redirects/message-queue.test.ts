import { describe, expect, it } from '@jest/globals';
import { MessageQueue } from '../../../src/auth/redirects/message-queue.js';
import { gate } from '../../helpers/wait.js';

describe('the queue of messages', () => {
  /** Adds messages whose checks take all places until the gate opens. */
  const fill = (queue: MessageQueue, { passed }: { passed: Promise<void> }): Promise<void>[] =>
    Array.from({ length: 16 }, () => queue.run('other', () => passed, fail));
  const fail = (): never => {
    throw new Error('no message of this test is refused');
  };

  it('runs 16 checks at a time', async () => {
    const [queue, place] = [new MessageQueue(), gate()];
    let started = 0;
    const check = (): Promise<void> => {
      started += 1;
      return place.passed;
    };
    const checks = Array.from({ length: 40 }, (_, n) => queue.run(String(n), check, fail));
    expect(started).toBe(16);
    place.open();
    await Promise.all(checks);
    expect(started).toBe(40);
  });

  it('lets networks take turns', async () => {
    const [queue, place] = [new MessageQueue(), gate()];
    const filling = fill(queue, place);
    const order: string[] = [];
    const networks = ['a', 'a', 'a', 'b', 'c', 'b'];
    const waiting = networks.map((network, n) =>
      queue.run(network, async () => void order.push(network + n), fail),
    );
    place.open();
    await Promise.all([...filling, ...waiting]);
    expect(order).toEqual(['a0', 'b3', 'c4', 'a1', 'b5', 'a2']);
  });

  it('refuses a message of the network with the most if it is full', async () => {
    const [queue, place] = [new MessageQueue(), gate()];
    const filling = fill(queue, place);
    const refused: number[] = [];
    const add = (network: string): Promise<string> =>
      queue
        .run(
          network,
          async () => 'checked',
          (count) => void refused.push(count),
        )
        .catch(({ status }) => String(status));
    const flood = Array.from({ length: 1001 }, () => add('a'));
    const other = add('b');
    place.open();
    expect(await other).toBe('checked');
    const answers = await Promise.all(flood);
    expect(answers.map((answer, n) => [answer, n]).filter(([answer]) => answer === '503')).toEqual([
      ['503', 999],
      ['503', 1000],
    ]);
    expect(refused).toEqual([1]);
    await Promise.all(filling);
  });

  it('refuses a new message if it is full of messages of as many networks', async () => {
    const [queue, place] = [new MessageQueue(), gate()];
    const filling = fill(queue, place);
    const waiting = Array.from({ length: 1000 }, (_, n) =>
      queue.run(String(n), async () => 'checked', fail),
    );
    await expect(
      queue.run(
        'last',
        async () => 'checked',
        () => {},
      ),
    ).rejects.toMatchObject({
      status: 503,
    });
    place.open();
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['checked']));
    await Promise.all(filling);
  });
});
