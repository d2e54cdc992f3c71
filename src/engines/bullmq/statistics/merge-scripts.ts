import { mergeScript } from './merges.js';

/*
 * If Redis cannot read an entry, for example because a number is missing in it, the script replaces
 * a stored entry and leaves out a new one. An error would end the script, and the process would
 * send the same entry again and again. A key with another type still ends the script. Each key is
 * therefore read before the first write, because Redis does not undo the writes of a script.
 */

/**
 * Adds sums of ended tasks to the stored sums.
 * KEYS: one hash for each level. ARGV: for each hash, the milliseconds for which it is kept (0: it
 * never expires), then fields and their sums, which are added to every hash.
 */
export const mergeStats = mergeScript(`
local function combined(stored, text)
  local added = cjson.decode(text)
  local sum = stored and cjson.decode(stored)
    or {ended = {}, ran = 0, total = 0, min = 0, max = 0, buckets = {}}
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
local function combined(stored, text)
  local group = cjson.decode(text)
  if not stored then return text, group.last end
  local before = cjson.decode(stored)
  group.count = group.count + before.count
  group.first = math.min(group.first, before.first)
  for hour, count in pairs(before.hours) do
    if tonumber(hour) >= tonumber(ARGV[2]) then
      group.hours[hour] = (group.hours[hour] or 0) + count
    end
  end
  if before.last > group.last then
    group.last, group.lastTaskId, group.message = before.last, before.lastTaskId, before.message
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
