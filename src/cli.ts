#!/usr/bin/env node
// The command `koa-taskflow`.
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { parseArgs } from 'node:util';
import { hashPassword } from './auth/passwords/stored-password.js';

const usage = `Usage: npx koa-taskflow hash
       npx koa-taskflow move --from tasks.db --to redis://host:6379 [--prefix koa-taskflow]

hash  Reads a password and prints its hash, to stand in a configuration instead of it.
      Asks twice without an echo at a terminal; reads one line of the standard input else.

move  Moves all that a file of tasks has onto a Redis, for bullmqEngine. Stop every process
      that has the file open first. Broken off, it goes on when it is called again. Without
      --to the URL is read from the environment, REDIS_URL, where no list of processes shows
      its password.
`;

/** Asks at a terminal, and shows nothing of what is typed. */
async function askTwice(): Promise<string> {
  // readline edits the lines and echoes them here, where nobody sees them. It is there before the first question and until
  // after the last, since the terminal itself echoes whatever is typed in between.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  const cancelled = new Promise<never>((_resolve, reject) => lines.once('SIGINT', () => reject(new Error('cancelled'))));
  const typed = lines[Symbol.asyncIterator]();
  const ask = async (question: string): Promise<string> => {
    process.stderr.write(question);
    const line = await Promise.race([typed.next(), cancelled]);
    process.stderr.write('\n');
    return line.done ? '' : line.value;
  };
  try {
    const password = await ask('Password: ');
    if (password !== '' && (await ask('Again: ')) !== password) throw new Error('the two passwords are not the same');
    return password;
  } finally {
    lines.close();
  }
}

async function firstLine(): Promise<string> {
  for await (const line of createInterface({ input: process.stdin })) return line;
  return '';
}

async function hash(): Promise<void> {
  const password = await (process.stdin.isTTY ? askTwice() : firstLine());
  if (password === '') throw new Error('no password was given');
  if (Buffer.byteLength(password) > 1024) throw new Error('a password may have 1024 bytes');
  process.stdout.write(`${await hashPassword(password)}\n`);
}

async function move(args: string[]): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({ args, options: { from: text, to: text, prefix: text } });
  const { from, to = process.env.REDIS_URL, prefix = 'koa-taskflow' } = values;
  if (from === undefined || to === undefined) throw new Error('move takes --from, a file, and --to, the redis:// URL of a Redis');
  if (!/^rediss?:\/\//.test(to)) throw new Error('--to must be a redis:// or rediss:// URL');
  // Loaded here: who only makes a hash needs neither a database nor BullMQ.
  const { moveToRedis } = await import('./engines/bullmq/move.js');
  const { tasks, waiting, entries, file } = await moveToRedis({ from, to, prefix });
  process.stdout.write(
    `Moved ${tasks} tasks, ${waiting} of which wait to run, and ${entries} entries of logs.\nThe file is '${file}' now.\n`,
  );
}

function fail(error: unknown): void {
  process.stderr.write(`koa-taskflow: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

const [command, ...rest] = process.argv.slice(2);
if (command === 'hash' && rest.length === 0) {
  hash().catch(fail);
} else if (command === 'move') {
  move(rest).catch(fail);
} else if (command === undefined || command === '--help' || command === 'help') {
  process.stdout.write(usage);
} else {
  // What was typed is not repeated: it may be the password.
  process.stderr.write(`koa-taskflow: there are two commands, hash, which takes nothing, and move\n\n${usage}`);
  process.exitCode = 2;
}
