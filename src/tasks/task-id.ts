import { randomFillSync } from 'node:crypto';
import { isName } from './names.js';

/** Random bytes are drawn in one go for many ids: a draw costs as much as all the rest. */
const pool = Buffer.alloc(4096);
let drawn = pool.length;

function randomNumber(): number {
  if (drawn + 4 > pool.length) {
    randomFillSync(pool);
    drawn = 0;
  }
  drawn += 4;
  return pool.readUInt32LE(drawn - 4);
}

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');

/**
 * Makes a source of ids, UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, a counter of 42 bits (section 6.2, method
 * 1) and 32 random ones. Each is greater than the one before it of this source, also when the clock is set back.
 *
 * @param now The clock, in Unix milliseconds.
 */
export function taskIds(now: () => number): () => string {
  let lastTime = 0;
  // Counts up within one millisecond, from a random start below 2^41.
  let counter = 0;
  return () => {
    const time = now();
    if (time > lastTime) {
      lastTime = time;
      counter = randomNumber() * 2 ** 9 + (randomNumber() % 2 ** 9);
    } else {
      counter += 1;
    }
    const low = counter % 2 ** 30;
    const variant = 0x8000 + Math.floor(low / 2 ** 16);
    const stamp = hex(lastTime, 12);
    return `${stamp.slice(0, 8)}-${stamp.slice(8)}-7${hex(Math.floor(counter / 2 ** 30), 3)}-${hex(variant, 4)}-${hex(low % 2 ** 16, 4)}${hex(randomNumber(), 8)}`;
  };
}

/** The next id of this process. */
export const newTaskId = taskIds(() => Date.now());

/** The Unix milliseconds in a UUIDv7. Taken from there, so that ordering by id is ordering by time. */
export function timeOfTaskId(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

/** The form of the ids made here. */
const taskIdPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/**
 * Whether a text has the form of a task's id, or of that of a job that another program added: `queue:jobId`. BullMQ takes any
 * name of a queue without a colon, and any id.
 */
export function isTaskId(text: string): boolean {
  return taskIdPattern.test(text) || (/^[^:]+:./s.test(text) && isName(text));
}
