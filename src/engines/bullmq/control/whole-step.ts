import { type RedisScript, redisScript, type ScriptValue } from '../connection/redis-script.js';
import { listFields } from '../read/job-source.js';

/** A script that is a part of a step, and what it gets. */
export interface StepPart {
  /** Unique for each text. */
  name: string;
  text: string;
  keys: readonly ScriptValue[];
  args: readonly ScriptValue[];
}

/** A part that does nothing. */
const nothing: StepPart = { name: '', text: 'return 0', keys: [], args: [] };

/** The parts of a step. */
export interface StepParts {
  /** Answers a verdict, see `step-scripts.ts`. Its first two arguments are the key of the job. */
  decide: StepPart;
  /** The script of BullMQ that moves the job if the verdict is {@link verdicts}`.taken`. */
  move?: StepPart | undefined;
  /** The script that runs last, whatever the verdict is. */
  record?: StepPart | undefined;
  /** Whether to read the job before the step, which removes it. */
  readsFirst: boolean;
  /**
   * Whether Redis refuses the whole step if its memory is full. Redis checks its memory only before
   * the first write of a script, so the script begins with a write that needs memory.
   */
  needsMemory: boolean;
}

/**
 * The first value of a verdict: the state forbids the command, BullMQ's step follows, or BullMQ has
 * nothing to do.
 */
export const verdicts = { refused: 0, taken: 1, asked: 2 };

/** What the script of a step answers: the verdict, the answer of BullMQ, and the job. */
export type StepRow = [
  verdict: number,
  state: string,
  bond: string,
  moved: number,
  job: (string | null)[],
];

/** A whole step as one call of a script. */
interface WholeStep {
  script: RedisScript;
  keys: ScriptValue[];
  args: ScriptValue[];
}

/**
 * Combines the scripts of a step into one, so that a missing script cannot leave the step half
 * done. Each part is a function whose parameters are its own `KEYS` and `ARGV`. `known`: a cache of
 * combined scripts, by the names of their parts.
 */
export function wholeStep(
  { decide, move = nothing, record = nothing, ...how }: StepParts,
  known: Map<string, RedisScript>,
): WholeStep {
  const parts = [decide, move, record];
  const name = parts.map((part) => part.name).join(' ');
  let script = known.get(name);
  if (!script) {
    script = redisScript(wholeText(parts, how));
    known.set(name, script);
  }
  const sizes = parts.map(({ keys, args }) => [keys.length, args.length]);
  return {
    script,
    keys: parts.flatMap(({ keys }) => keys),
    args: [JSON.stringify(sizes), ...parts.flatMap(({ args }) => args)],
  };
}

/**
 * KEYS and ARGV: those of the parts one after the other, after the numbers of keys and arguments of
 * each part as JSON. If BullMQ's script fails, the record still runs and stores what BullMQ has
 * changed.
 */
function wholeText(
  parts: readonly StepPart[],
  { readsFirst, needsMemory }: Pick<StepParts, 'readsFirst' | 'needsMemory'>,
): string {
  const [decide, move, record] = parts.map(({ text }) => `(KEYS, ARGV)\n${text}\nend`);
  return `
local function decide${decide}
local function move${move}
local function record${record}
local sizes, keys, args, key, arg = cjson.decode(ARGV[1]), {}, {}, 0, 1
for n, size in ipairs(sizes) do
  keys[n] = {unpack(KEYS, key + 1, key + size[1])}
  args[n] = {unpack(ARGV, arg + 1, arg + size[2])}
  key, arg = key + size[1], arg + size[2]
end
local function read()
  return redis.call('HMGET', args[1][1] .. args[1][2], '${listFields.join("', '")}')
end
-- Changes nothing, but fails if the memory of Redis is full.
if ${needsMemory} then redis.call('ZADD', keys[1][1], 'XX', 0, '') end
local row = ${readsFirst} and read()
local verdict = decide(keys[1], args[1])
local isMoved, moved = true, 0
if verdict[1] == ${verdicts.taken} then isMoved, moved = pcall(move, keys[2], args[2]) end
record(keys[3], args[3])
-- Redis 7 gives the error as a text or a table. error() would put ERR before its code.
if not isMoved then return type(moved) == 'table' and moved or redis.error_reply(moved) end
if type(moved) ~= 'number' then moved = 0 end
return {verdict[1], verdict[2], verdict[3] or '', moved, row or read()}
`;
}
