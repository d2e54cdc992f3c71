/*
 * Scripts that read an attached queue. They cut long values before Redis sends them. KEYS[1] is a
 * key of the queue. The other keys have the same hash tag on Redis Cluster.
 */

/**
 * Runs commands, all at one moment. KEYS: the key prefix of the queue. ARGV: the commands with
 * their keys, as JSON.
 */
export const askScript = `
local answers = {}
for n, command in ipairs(cjson.decode(ARGV[1])) do answers[n] = redis.call(unpack(command)) end
return answers
`;

/**
 * Reads fields of jobs. KEYS: the key prefix of the queue. ARGV: the approximate maximum bytes of
 * the answer, then the ids of the jobs.
 */
export function jobsScript(
  fields: readonly (readonly [name: string, longest: number])[],
  longestTrace: number,
): string {
  const list = fields.map(([name, longest]) => `{'${name}', ${longest}}`).join(', ');
  return `
local fields, names = {${list}}, {}
for n, field in ipairs(fields) do names[n] = field[1] end
local jobs, bytes = {}, 0
for n = 2, #ARGV do
  local key = KEYS[1] .. ARGV[n]
  -- An id may be the name of one of BullMQ's own keys, which is not a job.
  local values = redis.pcall('HMGET', key, unpack(names))
  if values.err or not values[1] then
    jobs[#jobs + 1] = false
  else
    local hasFailed = false
    for m, field in ipairs(fields) do
      local value = values[m]
      if value and field[1] == 'failedReason' then hasFailed = value ~= '' end
      if value and #value > field[2] then
        if field[1] == 'opts' then value = '{}' else value = string.sub(value, 1, field[2]) end
        values[m] = value
      end
      bytes = bytes + #(value or '')
    end
    -- The name of an error is only in its stack.
    local trace = hasFailed and redis.call('HGET', key, 'stacktrace')
    if trace and #trace > ${longestTrace} then trace = string.sub(trace, 1, 2000) end
    values[#values + 1] = trace or false
    bytes = bytes + #(trace or '')
    jobs[#jobs + 1] = values
  end
  if bytes > tonumber(ARGV[1]) then break end
end
return jobs
`;
}

/**
 * Reads events without the results that they carry. KEYS: the stream. ARGV: the id to start after,
 * the number of events, and the approximate maximum bytes to read. Without an id, only the id of
 * the newest event is returned.
 */
export function eventsScript(longestName: number, longestReason: number): string {
  return `
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if ARGV[1] == '' or not newest then return {newest and newest[1] or '', ''} end
local answer = {newest[1], redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][1]}
local from, n, bytes = ARGV[1], 0, 0
while n < tonumber(ARGV[2]) and bytes < tonumber(ARGV[3]) do
  local some = redis.call('XRANGE', KEYS[1], '(' .. from, '+', 'COUNT', 10)
  if #some == 0 then break end
  for _, entry in ipairs(some) do
    local of = {}
    for m = 1, #entry[2], 2 do
      of[entry[2][m]] = entry[2][m + 1]
      bytes = bytes + #entry[2][m + 1]
    end
    local name = string.sub(of.name or '', 1, ${longestName})
    local reason = string.sub(of.failedReason or '', 1, ${longestReason})
    answer[#answer + 1] = {entry[1], of.event or '', of.jobId or '', name, reason}
    n = n + 1
  end
  from = some[#some][1]
end
return answer
`;
}

/**
 * Reads the large parts of one job, or their sizes if they are too large. KEYS: the job. ARGV: the
 * maximum bytes of a part.
 */
export const partsScript = `
local parts = {}
for n, name in ipairs({'data', 'returnvalue', 'stacktrace'}) do
  local size = redis.call('HSTRLEN', KEYS[1], name)
  if size > tonumber(ARGV[1]) then
    parts[n] = size
  else
    parts[n] = redis.call('HGET', KEYS[1], name)
  end
end
return parts
`;

/**
 * Returns the number of lines in a log, then lines of it. KEYS: the log. ARGV: the index of the
 * first line, the index after the last line, the maximum bytes of a line and of all lines, and `1`
 * to start with the last line.
 */
export const linesScript = `
local first, last = tonumber(ARGV[1]), tonumber(ARGV[2])
local longest, most = tonumber(ARGV[3]), tonumber(ARGV[4])
local answer, bytes = {redis.call('LLEN', KEYS[1])}, 0
while first < last and bytes < most do
  local from, to = first, math.min(last, first + 100) - 1
  if ARGV[5] == '1' then from, to = math.max(first, last - 100), last - 1 end
  local lines = redis.call('LRANGE', KEYS[1], from, to)
  if #lines == 0 then break end
  for n = 1, #lines do
    local line = lines[n]
    if ARGV[5] == '1' then line = lines[#lines + 1 - n] end
    if bytes >= most then break end
    line = string.sub(line, 1, longest)
    bytes = bytes + #line
    answer[#answer + 1] = line
  end
  if ARGV[5] == '1' then last = from else first = to + 1 end
end
return answer
`;

/**
 * Returns the number of a job's children, then keys of children. KEYS: the job. ARGV: the maximum
 * number of keys.
 */
export const childrenScript = `
local total, keys, known = 0, {}, {}
local function add(found, step)
  for n = 1, #found, step do
    if #keys < tonumber(ARGV[1]) and not known[found[n]] then
      known[found[n]] = true
      keys[#keys + 1] = found[n]
    end
  end
end
local function addHash(key)
  total = total + redis.call('HLEN', key)
  -- The values, which are the results of the children, are skipped.
  add(redis.call('HSCAN', key, 0, 'COUNT', ARGV[1])[2], 2)
end
addHash(KEYS[1] .. ':processed')
total = total + redis.call('SCARD', KEYS[1] .. ':dependencies')
add(redis.call('SSCAN', KEYS[1] .. ':dependencies', 0, 'COUNT', ARGV[1])[2], 1)
total = total + redis.call('ZCARD', KEYS[1] .. ':unsuccessful')
add(redis.call('ZRANGE', KEYS[1] .. ':unsuccessful', 0, tonumber(ARGV[1]) - 1), 1)
addHash(KEYS[1] .. ':failed')
table.insert(keys, 1, total)
return keys
`;

/**
 * Reads job schedulers without their templates. KEYS: the sorted set of schedulers. ARGV: the
 * maximum number.
 */
export const schedulersScript = `
local found, answer = redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1, 'WITHSCORES'), {}
for n = 1, #found, 2 do
  local fields = redis.call('HMGET', KEYS[1] .. ':' .. found[n], 'name', 'pattern', 'tz', 'every')
  if fields[1] then
    for m = 1, 4 do fields[m] = fields[m] and string.sub(fields[m], 1, 1000) end
    answer[#answer + 1] = {found[n], found[n + 1], unpack(fields)}
  end
end
return answer
`;

/**
 * Returns why BullMQ would reject an action on each of some jobs. KEYS: the key prefix of the
 * queue. ARGV: the action, then the ids of the jobs. The answer for a job is one of these:
 * - empty: BullMQ would not reject it
 * - `gone`: the job does not exist
 * - `scheduler`: it is the next run of a job scheduler
 * - `locked`: a worker runs it or one of its children
 * - `state`: its state does not allow the action
 */
export const rejectionsScript = `
local base, action, answer = KEYS[1], ARGV[1], {}
local function isLocked(key)
  if redis.call('EXISTS', key .. ':lock') == 1 then return true end
  for _, child in ipairs(redis.call('SMEMBERS', key .. ':dependencies')) do
    if isLocked(child) then return true end
  end
  return false
end
local function rejectionOf(id)
  local key = base .. id
  -- An id may be the name of one of BullMQ's own keys, which is not a job.
  local name = redis.pcall('HGET', key, 'name')
  if not name or type(name) == 'table' then return 'gone' end
  if action == 'retry' then return redis.call('ZSCORE', base .. 'failed', id) and '' or 'state' end
  if action == 'run' then
    return redis.call('ZSCORE', base .. 'waiting-children', id) and 'state' or ''
  end
  local scheduler = redis.call('HGET', key, 'rjk')
  local next = scheduler and redis.call('ZSCORE', base .. 'repeat', scheduler)
  if next and id == 'repeat:' .. scheduler .. ':' .. next then return 'scheduler' end
  return isLocked(key) and 'locked' or ''
end
for n = 2, #ARGV do answer[#answer + 1] = rejectionOf(ARGV[n]) end
return answer
`;

/** What {@link rejectionsScript} answers for a job. */
export type Rejection = '' | 'gone' | 'scheduler' | 'locked' | 'state';
