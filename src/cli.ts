#!/usr/bin/env node
import { fork } from 'node:child_process';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { AppCommand, ChildMessage } from './auth/app-command.js';
import { hashPassword } from './auth/passwords/stored-password.js';

const usage = `Usage: npx koa-taskflow hash
       npx koa-taskflow move --from tasks.db --to redis://host:6379
                             [--prefix koa-taskflow] [--concurrency report=1]...
       npx koa-taskflow token create ./auth.js (--owner STRATEGY:USERNAME | --service NAME)
                             [--name NAME] [--role ROLE]... [--expires-in SECONDS]
       npx koa-taskflow token list ./auth.js [--owner STRATEGY:USERNAME | --service NAME]
       npx koa-taskflow token rotate ./auth.js ID [--keep-old-for SECONDS]
       npx koa-taskflow token revoke ./auth.js ID
       npx koa-taskflow doctor ./auth.js [--url https://jobs.example.com] [--strategy NAME]
                             [--json]
       npx koa-taskflow doctor ./auth.js --strategy NAME (--user NAME | --claims FILE) [--json]
       npx koa-taskflow unpin ./auth.js STRATEGY USERNAME

hash  Reads a password and prints its hash, which you can put into a configuration file
      instead of the password. At a terminal, hash asks for the password twice and does not
      show it. Otherwise, hash reads one line from standard input.

move  Moves pending tasks, schedules, pauses, the audit log and sessions from a task database
      file to Redis, for bullmqEngine. Before you run it, stop every process that has the file
      open. Ended tasks stay in the file, which is renamed to tasks.db.moved. If the command is
      interrupted, run it again: it resumes where it stopped.

      --from         Path of the task database file.
      --to           URL of Redis. Default: the environment variable REDIS_URL. If the URL has
                     a password, use REDIS_URL, because other users of the host can see the
                     arguments of a command.
      --prefix       The prefix of bullmqEngine. Default: koa-taskflow.
      --concurrency  Name and limit of a task that is defined with concurrency. Give it once
                     for each such task.

token  Creates, lists, rotates and revokes API tokens. It imports the module and uses the login
       that the module exports as auth. A token without --role may only read. create and rotate
       print only the token to standard output, so that scripts can store it.

doctor Checks a login: its options, each strategy, and, with --url, the login page as browsers see
       it. It imports the module like token. The exit code is 1 if it finds a fault.

       --url       The URL of the app as browsers see it.
       --strategy  Checks only this strategy.
       --user      Shows the groups and the roles of a user of the strategy, without a password.
       --claims    Shows the roles for a JSON file with the claims of an ID token.
       --json      Prints one line of JSON.

unpin  Lets another account of a provider sign in with a name. The first login with a name pins the
       name to the account. Use unpin after the account was deleted and created again.
`;

/** Asks for a password twice at a terminal, without showing what the user types. */
async function askTwice(): Promise<string> {
  // readline edits the lines and echoes them to a stream that discards them. It runs from before
  // the first question until after the last one. Otherwise the terminal would echo what the user
  // types in between.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  const cancelled = new Promise<never>((_resolve, reject) =>
    lines.once('SIGINT', () => reject(new Error('cancelled'))),
  );
  const typed = lines[Symbol.asyncIterator]();
  const ask = async (question: string): Promise<string> => {
    process.stderr.write(question);
    const line = await Promise.race([typed.next(), cancelled]);
    process.stderr.write('\n');
    return line.done ? '' : line.value;
  };
  try {
    const password = await ask('Password: ');
    if (password !== '' && (await ask('Again: ')) !== password)
      throw new Error('the passwords do not match');
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
  if (password === '') throw new Error('the password is empty');
  if (Buffer.byteLength(password) > 1024) throw new Error('the password is longer than 1024 bytes');
  process.stdout.write(`${await hashPassword(password)}\n`);
}

async function move(args: string[]): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args,
    options: { from: text, to: text, prefix: text, concurrency: { ...text, multiple: true } },
  });
  const { from, to = process.env.REDIS_URL, prefix = 'koa-taskflow', concurrency = [] } = values;
  if (!from) throw new Error('--from is missing: give the path of the task database file');
  if (!to)
    throw new Error(
      '--to is missing. Pass the URL of Redis, such as --to redis://127.0.0.1:6379, or set the ' +
        'environment variable REDIS_URL.',
    );
  // The error does not repeat the URL, which can contain a password.
  if (!/^rediss?:\/\//.test(to)) throw new Error('--to must be a redis:// or rediss:// URL');
  if (!/^[^{}\s:]{1,100}$/.test(prefix))
    throw new Error('--prefix must be 1 to 100 characters without braces, colons or spaces');
  // Loaded only here, because `hash` needs neither a database nor BullMQ.
  const { moveToRedis } = await import('./engines/bullmq/move/move.js');
  const moved = await moveToRedis({
    from,
    to,
    prefix,
    concurrency: new Map(concurrency.map(readLimit)),
  });
  const parts = [
    counted(moved.tasks, 'pending task', 'pending tasks'),
    counted(moved.schedules, 'schedule', 'schedules'),
    counted(moved.queues, 'paused queue', 'paused queues'),
  ];
  const entries = counted(moved.entries, 'audit entry', 'audit entries');
  process.stdout.write(
    `Moved ${parts.join(', ')} and ${entries}. The history stays in '${moved.file}'.\n`,
  );
}

/** Reads the name and the limit of a task, such as `report=1`. */
function readLimit(text: string): [name: string, limit: number] {
  const at = text.lastIndexOf('=');
  const limit = Number(text.slice(at + 1));
  if (at < 1 || !Number.isSafeInteger(limit) || limit < 1)
    throw new Error(
      `--concurrency ${JSON.stringify(text)} is not valid: give the name of a task and its ` +
        'limit, such as report=1',
    );
  return [text.slice(0, at), limit];
}

/**
 * Runs a command that imports the module of an app. It runs in another process, so that the log of
 * the app does not come between the lines of the command.
 */
function runWithApp(command: AppCommand, args: readonly string[]): void {
  const file = fileURLToPath(new URL('./auth/app-command.js', import.meta.url));
  const child = fork(file, [command, ...args], { stdio: ['inherit', 2, 2, 'ipc'] });
  let answer: ChildMessage = { error: 'the module of the app ended the process' };
  child.on('message', (message) => {
    answer = message as ChildMessage;
  });
  child.once('close', () => {
    if ('error' in answer) return fail(new Error(answer.error));
    const { output, note = '', code = 0 } = answer;
    process.stdout.write(output);
    process.stderr.write(note);
    process.exitCode = code;
  });
}

function counted(n: number, one: string, many: string): string {
  return `${n} ${n === 1 ? one : many}`;
}

function fail(error: unknown): void {
  process.stderr.write(`koa-taskflow: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

const [command, ...rest] = process.argv.slice(2);
const wantsHelp =
  command === undefined ||
  command === 'help' ||
  [command, ...rest].some((word) => word === '--help' || word === '-h');
if (wantsHelp) {
  process.stdout.write(usage);
} else if (command === 'hash' && rest.length === 0) {
  hash().catch(fail);
} else if (command === 'move') {
  move(rest).catch(fail);
} else if (command === 'doctor' || command === 'token' || command === 'unpin') {
  runWithApp(command, rest);
} else {
  // The error does not repeat the arguments, one of which may be a password.
  process.stderr.write(
    'koa-taskflow: unknown command or argument. Commands: hash (without arguments), move, token, ' +
      `doctor, unpin.\n\n${usage}`,
  );
  process.exitCode = 2;
}
