import { mergeScript } from './merges.js';

/*
 * If Redis cannot read a part of a stored entry, for example because a number is missing in it, the
 * script replaces only this part. It leaves out a new entry that it cannot read. An error would end
 * the script, and the process would send the same entry again and again. A key with another type
 * still ends the script. Each key is therefore read before the first write, because Redis does not
 * undo the writes of a script.
 */

/**
 * Adds sums of ended tasks to the stored sums. The durations are one part, because the number of
 * attempts, their total and their buckets are only right together.
 * KEYS: one hash for each level. ARGV: for each hash, the milliseconds for which it is kept (0: it
 * never expires), then fields and their sums, which are added to every hash.
 */
export const mergeStats = mergeScript(`
local function combined(before, text)
  local added = cjson.decode(text)
  local sum = {ended = {}, ran = 0, total = 0, min = 0, max = 0, buckets = {}}
  if before then
    sum.ended = countsOf(before.ended)
    local buckets, areWhole = countsOf(before.buckets)
    local areDurations = areWhole and isCount(before.ran) and isNumber(before.total)
      and isNumber(before.min) and isNumber(before.max)
    if part(areDurations, areDurations) then
      sum.ran, sum.total, sum.min = before.ran, before.total, before.min
      sum.max, sum.buckets = before.max, buckets
    end
  end
  if sum.ran == 0 then
    sum.min = added.min
  elseif added.ran > 0 then
    sum.min = math.min(sum.min, added.min)
  end
  sum.max = math.max(sum.max, added.max)
  sum.ran = sum.ran + added.ran
  sum.total = sum.total + added.total
  for status, count in pairs(added.ended) do
    sum.ended[status] = (sum.ended[status] or 0) + count
  end
  for bucket, count in pairs(added.buckets) do
    sum.buckets[bucket] = (sum.buckets[bucket] or 0) + count
  end
  return cjson.encode(sum)
end
for _, key in ipairs(KEYS) do redis.call('HGET', key, '') end
local first = #KEYS + 1
for n, key in ipairs(KEYS) do
  for at = first, #ARGV, 2 do
    local isValid, sum = merged(combined, redis.call('HGET', key, ARGV[at]), ARGV[at + 1])
    if isValid then redis.call('HSET', key, ARGV[at], sum) end
  end
  if tonumber(ARGV[n]) > 0 then redis.call('PEXPIRE', key, ARGV[n]) end
end
`);

/**
 * Adds failures to their groups, and drops the oldest groups.
 * KEYS: the groups, their times. ARGV: how many groups are kept, the oldest hour of a trend, then
 * fingerprints with their failures.
 */
export const mergeFailures = mergeScript(`
local function textOf(value, otherwise) return part(value, type(value) == 'string', otherwise) end
local function combined(before, text)
  local group = cjson.decode(text)
  if not before then return text, group.last end
  local first = part(before.first, isCount(before.first), group.first)
  local last = part(before.last, isCount(before.last), group.last)
  group.count = group.count + part(before.count, isCount(before.count), 0)
  group.first = math.min(group.first, first, last)
  for hour, count in pairs(countsOf(before.hours)) do
    if (tonumber(hour) or 0) >= tonumber(ARGV[2]) then
      group.hours[hour] = (group.hours[hour] or 0) + count
    end
  end
  local lastTaskId = textOf(before.lastTaskId, group.lastTaskId)
  local message = textOf(before.message, group.message)
  if last > group.last then
    group.last, group.lastTaskId, group.message = last, lastTaskId, message
  end
  return cjson.encode(group), group.last
end
redis.call('ZCARD', KEYS[2])
for at = 3, #ARGV, 2 do
  local isValid, group, last = merged(combined, redis.call('HGET', KEYS[1], ARGV[at]), ARGV[at + 1])
  if isValid then
    redis.call('HSET', KEYS[1], ARGV[at], group)
    redis.call('ZADD', KEYS[2], last, ARGV[at])
  end
end
local surplus = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[1])
if surplus > 0 then
  for _, fingerprint in ipairs(redis.call('ZRANGE', KEYS[2], 0, surplus - 1)) do
    redis.call('HDEL', KEYS[1], fingerprint)
  end
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, surplus - 1)
end
`);
