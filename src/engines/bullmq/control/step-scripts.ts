import { cancelledPrefix } from '../jobs/task-job.js';

/*
 * Scripts that run before a script of BullMQ as parts of one step. Each decides whether the state
 * of the job allows the command, and writes the data that BullMQ has no place for. It answers one
 * of these:
 * - `{0, state}` if the state forbids the command
 * - `{0, state, bond}` if something other than the state forbids it: see `Bond`
 * - `{1, state before}` if BullMQ's step must follow
 * - `{2, state}` if BullMQ has nothing to do: the process that runs the job does the rest, or the
 *   job is already as the command wants it
 *
 * BullMQ ends a job, or makes it wait again, only if the job is active and locked by the caller.
 * `cancel` and `retry` therefore take the job out of its set, as a worker does: it is active, under
 * our lock, until BullMQ's own script moves it on in the same step.
 *
 * These lines write keys of BullMQ and were written for BullMQ 6.7. So were the other places that
 * do: `queue-catalog.ts` (the limits in `meta`), `locks.ts` (locks), and `move/pending-tasks.ts`
 * (jobs that already have attempts).
 */

/**
 * The beginning of each script.
 * KEYS: the sets of cancelled and of interrupted jobs, the hash of jobs to cancel, the streams of
 * changes and of signals.
 * ARGV: BullMQ's prefix of the queue, the id of the job, the token of our lock, the time, the name
 * of the job in the hash and the stream, the number of entries that the stream keeps, and one value
 * of the command.
 */
const common = `
local cancelled, interrupted, cancelling, changes, signals = unpack(KEYS)
local prefix, id, token, at, member, kept, given = unpack(ARGV)
local job = prefix .. id
local function stateOf()
  if redis.call('EXISTS', job) == 0 then return 'gone' end
  for _, set in ipairs({'completed', 'failed', 'delayed', 'prioritized', 'waiting-children'}) do
    if redis.call('ZSCORE', prefix .. set, id) then return set end
  end
  if redis.call('LPOS', prefix .. 'active', id) then return 'active' end
  return 'waiting'
end
local function note(change)
  redis.call('XADD', changes, 'MAXLEN', '~', kept, '*', change, cjson.encode({ member }))
end
local state = stateOf()
-- What would break without a job: the job scheduler whose next run it is, or its flow.
local function bondOf()
  local scheduler, parent = unpack(redis.call('HMGET', job, 'rjk', 'parentKey'))
  local nextAt = scheduler and redis.call('ZSCORE', prefix .. 'repeat', scheduler)
  if nextAt and id == 'repeat:' .. scheduler .. ':' .. nextAt then return 'scheduler' end
  if parent then return 'parent' end
  if redis.call('EXISTS', job .. ':dependencies', job .. ':processed', job .. ':failed',
    job .. ':unsuccessful') > 0 then
    return 'children'
  end
  return ''
end
-- Whether another job has the deduplication id of a job that has ended.
local function isReplaced()
  local deduplication = redis.call('HGET', job, 'deid')
  local holder = deduplication and redis.call('GET', prefix .. 'de:' .. deduplication)
  return holder and holder ~= id
end
-- Whether a child in a flow has failed, or has not ended. BullMQ then refuses a result of the job.
local function hasOpenChildren()
  return redis.call('ZCARD', job .. ':unsuccessful') > 0
    or redis.call('SCARD', job .. ':dependencies') > 0
end
-- Makes the job active under a lock. The lock expires if BullMQ's step fails.
local function take()
  redis.call('RPUSH', prefix .. 'active', id)
  redis.call('SET', job .. ':lock', token, 'PX', 10000)
end
local function attempts()
  return redis.call('HGET', job, 'tfn') or redis.call('HGET', job, 'atm') or '0'
end
`;

/**
 * Cancels a waiting job, or requests that a running job is cancelled. Given: who cancels it. Both
 * free its idempotency key, as on the embedded engine: the work may be enqueued again at once,
 * however the attempt ends.
 */
const cancel = `
local function freeKey()
  local deduplication = redis.call('HGET', job, 'deid')
  if deduplication and redis.call('GET', prefix .. 'de:' .. deduplication) == id then
    redis.call('DEL', prefix .. 'de:' .. deduplication)
  end
end
if state == 'active' then
  redis.call('HSET', job, 'tfx', at)
  redis.call('HSET', cancelling, member, given)
  redis.call('XADD', signals, 'MAXLEN', 1, '*', 'cancel', member)
  -- With its old token, the worker can no longer store another end.
  local held = redis.call('GET', job .. ':lock')
  if held and string.sub(held, 1, ${cancelledPrefix.length}) ~= '${cancelledPrefix}' then
    redis.call('SET', job .. ':lock', '${cancelledPrefix}' .. held, 'KEEPTTL')
  end
  freeKey()
  note('changed')
  return {2, state}
end
local bond = bondOf()
if bond ~= '' then return {0, state, bond} end
if state == 'delayed' or state == 'prioritized' then
  redis.call('ZREM', prefix .. state, id)
elseif state ~= 'waiting' or redis.call('LREM', prefix .. 'wait', -1, id) == 0 then
  return {0, state}
end
take()
redis.call('HSET', job, 'tfn', attempts(), 'tfx', at)
redis.call('HDEL', job, 'processedOn')
freeKey()
return {1, state}
`;

/** Makes a failed job wait for a new series of attempts. Given: the delay in milliseconds. */
const retry = `
local now, delay = tonumber(at), tonumber(given)
if state ~= 'failed' then return {0, state} end
if isReplaced() then return {0, state, 'duplicate'} end
if hasOpenChildren() then return {0, state, 'unfinished'} end
local created, text, deduplication, ended, marker =
  unpack(redis.call('HMGET', job, 'timestamp', 'opts', 'deid', 'finishedOn', 'tfm'))
-- Another program may have stored options of any form. They are all read before the first write,
-- because Redis does not undo the writes of a script that fails.
local function tableOf(value) return type(value) == 'table' and value or {} end
local isJson, stored = pcall(cjson.decode, text or '{}')
local opts = tableOf(isJson and stored)
local since, ttl = tonumber(created) or now, tonumber(tableOf(opts['de'])['ttl']) or 0
local deadline = tonumber(tableOf(opts['taskflow'])['deadline'])
local allowed = deadline and deadline - since - (tonumber(opts['delay']) or 0)
if deduplication then
  local key = prefix .. 'de:' .. deduplication
  local holder = redis.call('GET', key)
  local left = since + ttl - now
  if not holder and left > 0 then redis.call('SET', key, id, 'PX', string.format('%.0f', left)) end
end
redis.call('ZREM', prefix .. 'failed', id)
take()
-- BullMQ's worker cannot fetch a job whose options it cannot read.
if opts ~= stored then redis.call('HSET', job, 'opts', '{}') end
-- The parent in a flow waits for this job again, as after a retry of BullMQ.
local parent = redis.call('HGET', job, 'parentKey')
if parent and redis.call('EXISTS', parent) == 1 and
  (redis.call('ZREM', parent .. ':unsuccessful', job) == 1
    or redis.call('HDEL', parent .. ':failed', job) == 1) then
  redis.call('SADD', parent .. ':dependencies', job)
end
local made, due = attempts(), string.format('%.0f', now + delay)
redis.call('HSET', job, 'tfn', made, 'tfs', made, 'tfw', due)
if allowed then redis.call('HSET', job, 'tfd', string.format('%.0f', now + delay + allowed)) end
redis.call('HDEL', job, 'finishedOn', 'tfi', 'tfx', 'tfo', 'tfb', 'tfm')
if ended and marker == 'cancelled:' .. ended then redis.call('HDEL', job, 'failedReason', 'tfe') end
redis.call('ZREM', cancelled, id)
redis.call('ZREM', interrupted, id)
redis.call('HDEL', cancelling, member)
note(delay > 0 and 'delayed' or 'waiting')
return {1, state}
`;

/** Ends the delay of a job. */
const run = `
-- A job that waits only for its turn is already due.
if state == 'waiting' or state == 'prioritized' then return {2, state} end
if state ~= 'delayed' then return {0, state} end
-- A job that was returned because its worker had no handler for it is already due, so its time
-- stays.
if (tonumber(redis.call('HGET', job, 'tfb')) or 0) == 0 then redis.call('HSET', job, 'tfw', at) end
note('waiting')
return {1, state}
`;

/** Removes a job that has ended. BullMQ alone would remove a job in any state. */
const remove = `
if state ~= 'completed' and state ~= 'failed' then return {0, state} end
if bondOf() == 'scheduler' then return {0, state, 'scheduler'} end
return {1, state}
`;

/** Stores the id of a job's rerun, if the job still exists. Given: that id. */
const rerun = `
if state == 'gone' then return {0, state} end
redis.call('HSET', job, 'tfr', given)
note('changed')
return {1, state}
`;

/**
 * Returns the state of a job and what could prevent the command. Changes nothing. Given: the
 * command that may follow. BullMQ removes no job whose lock a worker holds.
 */
const look = `
if given == 'delete' and redis.call('EXISTS', job .. ':lock') == 1 then
  return {0, state, 'locked'}
end
if state == 'failed' and isReplaced() then return {0, state, 'duplicate'} end
if state == 'failed' and hasOpenChildren() then return {0, state, 'unfinished'} end
return {0, state, bondOf()}
`;

/** Removes the request to cancel a job, if the job has ended or no longer exists. */
const forget = `
if state ~= 'completed' and state ~= 'failed' and state ~= 'gone' then return {0, state} end
redis.call('HDEL', cancelling, member)
return {1, state}
`;

const steps = { cancel, retry, run, remove, rerun, look, forget };

export type StepScript = keyof typeof steps;

/** Returns the text of a script. */
export function textOfStep(script: StepScript): string {
  return common + steps[script];
}
