import { randomFillSync } from 'node:crypto';

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

let lastTime = 0;
/** Counts up within one millisecond, from a random start below 2^41 of 2^42. */
let counter = 0;

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');

/**
 * A new UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, a counter of 42 bits (section 6.2, method 1) and 32 random
 * ones. Each is greater than the one before it in this process, also when the clock is set back.
 */
export function newTaskId(): string {
  const now = Date.now();
  if (now > lastTime) {
    lastTime = now;
    counter = randomNumber() * 2 ** 9 + (randomNumber() % 2 ** 9);
  } else {
    counter += 1;
    if (counter === 2 ** 42) {
      counter = 0;
      lastTime += 1;
    }
  }
  const time = hex(lastTime, 12);
  const low = counter % 2 ** 30;
  const variant = 0x8000 + Math.floor(low / 2 ** 16);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(Math.floor(counter / 2 ** 30), 3)}-${hex(variant, 4)}-${hex(low % 2 ** 16, 4)}${hex(randomNumber(), 8)}`;
}

/** The Unix milliseconds in a UUIDv7. Taken from there, so that ordering by id is ordering by time. */
export function timeOfTaskId(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}
