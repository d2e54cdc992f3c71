import type { LogEntry, Write } from '../tables/write/batch.js';
import { newTask, type PackedTask } from '../tables/write/packed-tasks.js';

/**
 * Assumed number of characters of a write, or of a part of it, apart from texts of unlimited
 * length.
 */
const base = 512;

/**
 * Returns the approximate number of characters of a write as JSON. Texts of unlimited length count
 * exactly. Everything else counts with a constant.
 */
export function weightOf(write: Write): number {
  switch (write.kind) {
    case 'enqueue':
      return weightOfTasks(write.tasks);
    case 'plan':
      return weightOfTasks([write.template]);
    case 'finish': {
      const { result, logs = [] } = write;
      return (
        base +
        (result.status === 'success' ? (result.result?.length ?? 0) : 32 * base) +
        weightOfLines(logs)
      );
    }
    case 'log':
      return weightOfLines(write.logs);
    case 'restartDelays':
      return base + write.delays.length * 30;
    case 'rerun':
      return base + write.ids.length * 80 + (write.args?.length ?? 0);
    case 'retry':
    case 'cancel':
    case 'delete':
    case 'run':
      return base + write.ids.length * 60;
    case 'set':
    case 'replace':
      return base + (write.value?.length ?? 0);
    case 'append':
      return base + write.entry.length;
    default:
      return base;
  }
}

function weightOfTasks(tasks: readonly PackedTask[]): number {
  let weight = 0;
  for (const task of tasks) {
    const { tags, args } = newTask.unpack(task);
    weight += base + args.length + (tags?.length ?? 0);
  }
  return weight;
}

function weightOfLines(lines: readonly LogEntry[]): number {
  let weight = base;
  for (const { message, fields } of lines) weight += base + message.length + (fields?.length ?? 0);
  return weight;
}

/**
 * Maximum number of characters of a batch that is sent as JSON. JSON is faster than a structured
 * clone but must fit into one string.
 */
const longestJson = 64_000_000;

/** Packs a batch or its result for the other thread. */
export function packed<T extends object>(value: T, weight: number): string | T {
  if (weight > longestJson) return value;
  try {
    return JSON.stringify(value);
  } catch (error) {
    // The text has more characters to escape than the estimate assumes.
    if (error instanceof RangeError) return value;
    throw error;
  }
}
