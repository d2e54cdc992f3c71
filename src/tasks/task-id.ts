import { randomFillSync } from 'node:crypto';
import { isName } from './names.js';

/** Random bytes for many ids, drawn at once. A single draw costs as much as everything else. */
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

/**
 * The two hexadecimal digits of each byte. `toString(16)` of a number above 2^31 takes ten times as
 * long.
 */
const digits = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
const hex16 = (value: number): string => `${digits[(value >>> 8) & 0xff]}${digits[value & 0xff]}`;
const hex32 = (value: number): string => hex16(value >>> 16) + hex16(value);

/**
 * Returns a generator of ids, UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, a counter of
 * 42 bits (section 6.2, method 1) and 32 random bits. Each id is greater than the previous one of
 * the same generator, even if the clock is set back.
 *
 * @param now Returns the time in Unix milliseconds.
 */
export function taskIds(now: () => number): () => string {
  let lastTime = 0;
  /** The digits of the time and the version. */
  let stamp = '';
  // The counter has 12 high and 30 low bits. Within one millisecond it counts up from a random
  // start below 2^41.
  let high = 0;
  let low = 0;
  return () => {
    const time = now();
    if (time > lastTime) {
      lastTime = time;
      stamp = `${hex32(Math.floor(time / 2 ** 16))}-${hex16(time % 2 ** 16)}-7`;
      high = randomNumber() >>> 21;
      low = randomNumber() >>> 2;
    } else {
      low = (low + 1) % 2 ** 30;
      if (low === 0) high += 1;
    }
    const node = `${hex16(low)}${hex32(randomNumber())}`;
    return `${stamp}${hex16(high).slice(1)}-${hex16(0x8000 + (low >>> 16))}-${node}`;
  };
}

/** Returns the next id of this process. */
export const newTaskId = taskIds(() => Date.now());

/**
 * Returns the time of a UUIDv7 in Unix milliseconds. It is the creation time of the task, so that
 * the order of ids is the order of creation.
 */
export function timeOfTaskId(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

/** The form of the ids that this package creates. */
const taskIdPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/**
 * Returns whether a text has the form of a task id, or of the id of a job that another program
 * added: `queue:jobId`. BullMQ accepts any queue name without a colon, and any job id.
 */
export function isTaskId(text: string): boolean {
  return taskIdPattern.test(text) || (/^[^:]+:./s.test(text) && isName(text));
}
