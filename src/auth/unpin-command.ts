import { parseArgs } from 'node:util';
import { type CommandResult, loginOfModule, opened } from './app-module.js';
import { internalsOf } from './auth.js';
import { isUserName } from './strategies/user-fields.js';

/** Runs the command `unpin`. */
export async function unpinCommand(args: readonly string[]): Promise<CommandResult> {
  const { positionals } = parseArgs({ args: [...args], allowPositionals: true, options: {} });
  const [file, name, username, ...more] = positionals;
  if (file === undefined || name === undefined || username === undefined || more.length > 0)
    throw new Error(
      'pass the module that exports auth, the name of the strategy, and the name of the user: ' +
        'unpin ./auth.js okta ann@example.com',
    );
  if (!isUserName(username))
    throw new Error('the name of the user must be 1 to 256 printable characters');
  const auth = await loginOfModule(file);
  const { registry } = internalsOf(auth);
  const pinning = registry.names().filter((each) => registry.get(each)?.unpin);
  const strategy = registry.get(name);
  if (!strategy?.unpin)
    throw new Error(
      `'${name}' is not a strategy that pins names. ` +
        (pinning.length === 0
          ? 'The login has no such strategy.'
          : `Strategies that pin names: ${pinning.join(', ')}.`),
    );
  await opened(async () => auth.usable?.());
  const output = (await strategy.unpin(username))
    ? `Unpinned ${username} of ${name}. The next account that signs in with this name gets it.\n`
    : `${username} of ${name} is not pinned to an account. Nothing has changed.\n`;
  return { output };
}
