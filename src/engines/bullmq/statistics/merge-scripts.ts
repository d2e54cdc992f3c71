import { redisScript } from '../connection/redis-script.js';

/**
 * Adds sums of ended tasks to the stored sums.
 * KEYS: one hash for each level. ARGV: for each hash, the milliseconds for which it is kept (0: it
 * never expires), then fields and their sums, which are added to every hash.
 */
export const mergeFigures = redisScript(`
local first = #KEYS + 1
for n, key in ipairs(KEYS) do
  for at = first, #ARGV, 2 do
    local added = cjson.decode(ARGV[at + 1])
    local stored = redis.call('HGET', key, ARGV[at])
    if stored then
      local sum = cjson.decode(stored)
      if sum.ran == 0 then sum.min = added.min elseif added.ran > 0 then sum.min = math.min(sum.min, added.min) end
      sum.max = math.max(sum.max, added.max)
      sum.ran = sum.ran + added.ran
      sum.total = sum.total + added.total
      for status, count in pairs(added.ended) do sum.ended[status] = (sum.ended[status] or 0) + count end
      for bucket, count in pairs(added.buckets) do sum.buckets[bucket] = (sum.buckets[bucket] or 0) + count end
      added = sum
    end
    redis.call('HSET', key, ARGV[at], cjson.encode(added))
  end
  if tonumber(ARGV[n]) > 0 then redis.call('PEXPIRE', key, ARGV[n]) end
end
`);

/**
 * Adds failures to their groups, and drops the oldest groups.
 * KEYS: the groups, their times. ARGV: how many groups are kept, the current hour, the oldest hour
 * of a trend, then fingerprints with their failures.
 */
export const mergeFailures = redisScript(`
for at = 4, #ARGV, 2 do
  local group = cjson.decode(ARGV[at + 1])
  local stored = redis.call('HGET', KEYS[1], ARGV[at])
  if stored then
    local before = cjson.decode(stored)
    group.count = group.count + before.count
    group.first = math.min(group.first, before.first)
    for hour, count in pairs(before.hours) do
      if tonumber(hour) >= tonumber(ARGV[3]) then group.hours[hour] = (group.hours[hour] or 0) + count end
    end
    if before.last > group.last then
      group.last, group.lastTaskId, group.message = before.last, before.lastTaskId, before.message
    end
  end
  redis.call('HSET', KEYS[1], ARGV[at], cjson.encode(group))
  redis.call('ZADD', KEYS[2], group.last, ARGV[at])
end
local surplus = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[1])
if surplus > 0 then
  for _, fingerprint in ipairs(redis.call('ZRANGE', KEYS[2], 0, surplus - 1)) do redis.call('HDEL', KEYS[1], fingerprint) end
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, surplus - 1)
end
`);
