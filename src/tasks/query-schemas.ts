import { z } from 'zod';
import { didYouMean } from '../did-you-mean.js';
import { quote } from '../show-value.js';
import { isName, maxNameBytes, nameAccepted } from './names.js';
import { isTaskId } from './task-id.js';
import { readTime } from './time-text.js';
import { logLevels, type TaskStatus, taskStatuses } from './types.js';

/*
 * The queries and commands of tasks, defined once. `checked-source.ts` checks calls from code
 * against these schemas, the HTTP API checks requests against them, the OpenAPI document is
 * generated from them, and the types of `source.ts` and of the typed client are inferred from them.
 * Loaded with the first call that needs it, because zod takes longer to load than Koa.
 */

/** Makes a schema of a whole number within a range. */
export const whole = (min: number, max: number) => {
  const message = `must be a whole number from ${min} to ${max}`;
  return z.int({ error: message }).min(min, { error: message }).max(max, { error: message });
};

/**
 * Makes a schema of a text that is not empty. SQLite ends text at a NUL, so a name with one would
 * count as the part before it.
 */
export const words = (max: number) => {
  const message = `must be a string of 1 to ${max.toLocaleString('en')} characters`;
  return z
    .string({ error: message })
    .min(1, { error: message })
    .max(max, { error: message })
    .regex(/^[^\0]*$/, { error: 'must not contain NUL characters' });
};

/**
 * A name of a task, a queue or a schedule. A longer one than can be defined here may be BullMQ's.
 */
export const name = z
  .string({ error: `must be ${nameAccepted}` })
  .min(1, { error: `must be ${nameAccepted}` })
  .max(maxNameBytes, { error: `must be ${nameAccepted}` })
  .refine(isName, { error: `must be ${nameAccepted}` });

/** Makes a schema of one of some words. */
export const oneOf = <const T extends readonly [string, ...string[]]>(values: T) =>
  z.enum(values, { error: `must be one of ${values.join(', ')}` });

/** Returns the message about an unknown key. */
function unknownKey(key: string, known: readonly string[]): string {
  return `has an unknown key ${quote(key)}.${didYouMean(key, known)} Allowed: ${known.join(', ')}`;
}

/** Makes a schema of an object whose error for an unknown key names the known keys. */
export const strict = <T extends z.core.$ZodLooseShape>(shape: T) =>
  z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? unknownKey(String(issue.keys?.[0]), Object.keys(shape))
        : 'must be an object',
  });

const aTime = 'must be a time such as 2026-11-03T14:00:00Z, or relative to now such as -6h or -7d';

/** A time: ISO 8601, or relative to now. */
export const time = z
  .string({ error: aTime })
  .refine((text) => readTime(text, 0) !== undefined, { error: aTime })
  .meta({ examples: ['2026-11-03T14:00:00Z', '-6h'] });

const sortKeys = ['createdAt', 'startedAt', 'endedAt', 'duration', 'name', 'status'] as const;
const sorts = [...sortKeys, ...sortKeys.map((key) => `-${key}` as const)] as const;

const aCursor = 'must be the nextCursor of a list';

/**
 * Where the page before ended. It may hold the id of a BullMQ job with its queue, four characters
 * for three bytes.
 */
export const cursor = z
  .string({ error: aCursor })
  .max(Math.ceil((maxNameBytes * 4) / 3) + 200, { error: aCursor });

/**
 * Makes a list of a single string: code may write `status: 'failed'`, as an address has
 * `status=failed`.
 */
const asList = <T extends string>(given: T | readonly T[]): readonly T[] =>
  typeof given === 'string' ? [given] : given;

const someStates =
  "must be a state or a list of states, such as ['failed']. The states: " +
  `${taskStatuses.join(', ')}`;
const someTags = 'must be a tag or a list of 1 to 10 tags, each a key or key:value';
const aTag = 'must be a key, or key:value, with a key of 1 to 64 characters';

/** Conditions that tasks are chosen by. Each must hold. */
export const filters = {
  /** Any of these states: one, or a list. */
  status: z
    .preprocess(
      asList<TaskStatus>,
      z
        .array(oneOf(taskStatuses), { error: someStates })
        .min(1, { error: someStates })
        .max(taskStatuses.length, { error: someStates }),
    )
    .optional(),
  /** Name of the task. */
  name: name.optional(),
  queue: name.optional(),
  /** Tags that the task has, all of them: one, or a list. Each is a key, or `key:value`. */
  tag: z
    .preprocess(
      asList<string>,
      z
        .array(z.string({ error: aTag }).regex(/^[^:]{1,64}(:.{1,256})?$/su, { error: aTag }), {
          error: someTags,
        })
        .min(1, { error: someTags })
        .max(10, { error: 'may be given at most ten times' }),
    )
    .optional(),
  /** Fingerprint of the failures, as `fingerprint` of a task gives it. */
  fingerprint: z
    .string({ error: 'must be the 16 hexadecimal digits of a failure group' })
    .regex(/^[0-9a-f]{16}$/, { error: 'must be the 16 hexadecimal digits of a failure group' })
    .optional(),
  /** Name of the schedule that made the task. */
  schedule: name.optional(),
  /**
   * Words of the name, of a tag, or of a failure (name, error, tags), a tag, or the beginning of an
   * id. It may be as long as the id of a BullMQ job.
   */
  q: words(maxNameBytes).optional(),
  /** Created at or after this time: ISO 8601, or relative to now such as `-6h`. */
  from: time.optional(),
  /** Created before this time. */
  to: time.optional(),
};

const sort = oneOf(
  sorts as unknown as readonly [(typeof sorts)[number], ...(typeof sorts)[number][]],
);

/** `GET P`. */
export const listQuery = strict({
  ...filters,
  /** Default `-createdAt`, the newest first. Tasks without a value come last, and ties go by id. */
  sort: sort.optional(),
  /** Tasks of a page, 1 to 500. Default 50. */
  limit: whole(1, 500).optional(),
  /** Where the page before ended, as its `nextCursor` says. */
  cursor: cursor.optional(),
});

/** A list as code asks for it. */
export const findQuery = strict({
  ...listQuery.shape,
  /** With `false` the page has no exact `total`, which makes it cheaper. */
  counted: z.boolean({ error: 'must be true or false' }).optional(),
});

/** `GET P/:id/logs`. */
export const logQuery = strict({
  /** Lines after this number. */
  after: whole(0, 999_999_999).optional(),
  /** The last lines before this number, instead of the first ones after another. */
  before: whole(1, 999_999_999).optional(),
  /** Lines of this attempt, and lines of other programs, whose attempt is not known. */
  attempt: whole(1, 999_999_999).optional(),
  /** Lines of this level, or of a worse one. */
  level: oneOf(logLevels).optional(),
  /** Lines whose message or fields hold this text, in any case of ASCII letters. */
  q: words(200).optional(),
  /** Lines of a page, 1 to 1,000. Default 500. */
  limit: whole(1, 1000).optional(),
});

/** Log lines as code asks for them: as many as a task keeps by default. */
export const linesQuery = strict({
  ...logQuery.shape,
  /** How many lines, 1 to 10,000. Default 500. */
  limit: whole(1, 10_000).optional(),
});

/** `GET P/:id`. */
export const detailQuery = strict({
  /** How many of the last lines of its log come with the task, 0 to 10,000. Default 10,000. */
  logs: whole(0, 10_000).optional(),
});

/** `GET P/metrics`. */
export const metricsQuery = strict({
  /** Start of the range: ISO 8601, or relative to now such as `-1h`. Default: all time. */
  from: time.optional(),
  /** End of the range. Default: now. */
  to: time.optional(),
  /** Seconds of one point of the series, 60 to 31,536,000. */
  step: whole(60, 31_536_000).optional(),
});

/** Metrics as code asks for them. */
export const rangeQuery = strict({
  ...metricsQuery.shape,
  /** With `false` the series is empty, which makes the answer cheaper. */
  series: z.boolean({ error: 'must be true or false' }).optional(),
});

/** `GET P/failures`. */
export const failureQuery = strict({
  /** Name of the task. */
  name: name.optional(),
  /** Seen at or after this time. */
  from: time.optional(),
  /** Groups of a page, 1 to 500. Default 50. */
  limit: whole(1, 500).optional(),
  /** Where the page before ended, as its `nextCursor` says. */
  cursor: cursor.optional(),
});

const anId = 'must be the id of a task';

/** Makes a schema of a list of ids of tasks. */
export const ids = (min: number, max: number) =>
  z
    .array(z.string({ error: anId }).min(1, { error: anId }).max(maxNameBytes, { error: anId }), {
      error: 'must be a list of ids of tasks',
    })
    .min(min, { error: 'must have at least one id' })
    .max(max, { error: `must have at most ${max.toLocaleString('en')} ids` });

/** The id of one task. */
export const taskId = z
  .string({ error: anId })
  .max(maxNameBytes, { error: anId })
  .refine(isTaskId, { error: anId });

const chosen = "must be an object of conditions, as in a list, or 'all' to select every task";
const unchosen = "has no condition; it must have at least one, or be 'all' to select every task";

/**
 * The tasks of a command: those that conditions choose, or `'all'`. An empty object is refused,
 * since it may be a slip.
 */
export const commandFilter = z.union(
  [
    z.literal('all'),
    strict(filters)
      .refine((filter) => Object.keys(filter).length > 0, { error: unchosen })
      .meta({ minProperties: 1 }),
  ],
  { error: chosen },
);

const seconds = 'must be a number of seconds from 0 to 86,400';

/** Seconds over which retried tasks come due. */
export const spread = z
  .number({ error: seconds })
  .min(0, { error: seconds })
  .max(86_400, { error: seconds });

/** Whether to answer what would be done, and change nothing. */
export const dryRun = z.boolean({ error: 'must be true or false' });

/** How many tasks a command is to find. */
export const expect = whole(0, 1_000_000_000);

const aReason = 'must be a string of at most 500 characters';

/** Why something is done, for the audit. */
export const reason = z.string({ error: aReason }).max(500, { error: aReason });

const toTasks = {
  /** Ids of the tasks, at most 10,000; an id that is given twice counts once. */
  ids: ids(0, 10_000).optional(),
  /**
   * Conditions as in `find`, or `'all'`. The command applies to the oldest 10,000 matching tasks.
   */
  filter: commandFilter.optional(),
};

/**
 * What each command may have, by its action. Which targets exclude each other is checked in
 * `read-command.ts`.
 */
export const commands = {
  cancel: strict({ action: z.literal('cancel'), ...toTasks }),
  delete: strict({ action: z.literal('delete'), ...toTasks }),
  retry: strict({ action: z.literal('retry'), ...toTasks, spread: spread.optional() }),
  run: strict({ action: z.literal('run'), ...toTasks, schedule: name.optional() }),
  rerun: strict({
    action: z.literal('rerun'),
    ids: ids(0, 10_000),
    args: z.array(z.unknown(), { error: 'must be a list of arguments' }).optional(),
  }),
  pause: strict({ action: z.literal('pause'), queue: name.optional(), schedule: name.optional() }),
  resume: strict({
    action: z.literal('resume'),
    queue: name.optional(),
    schedule: name.optional(),
  }),
  remove: strict({ action: z.literal('remove'), schedule: name }),
};

/** The actor of a command, and its safeguards. */
export const commandBy = strict({
  actor: words(256),
  reason: reason.optional(),
  dryRun: dryRun.optional(),
  expect: expect.optional(),
});
