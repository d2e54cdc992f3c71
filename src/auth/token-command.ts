import { parseArgs } from 'node:util';
import { type CommandResult, loginOfModule, opened } from './app-module.js';
import { type Auth, internalsOf } from './auth.js';
import type { CreatedToken, TokenInfo, TokenIssuer } from './strategies/token-issuer.js';

/*
 * `koa-taskflow token` manages the tokens of a login. It imports the module of the app that
 * exports the login, so that it uses the same store and the same strategies as the app.
 */

const text = { type: 'string' } as const;

/** Runs the command `token`. */
export async function tokenCommand(args: readonly string[]): Promise<CommandResult> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      ...{ owner: text, service: text, name: text },
      ...{ 'expires-in': text, 'keep-old-for': text },
      role: { ...text, multiple: true },
    },
  });
  const [action = '', file, id, ...more] = positionals;
  const needsId = action === 'rotate' || action === 'revoke';
  if (!['create', 'list'].includes(action) && !needsId)
    throw new Error('the first argument of token must be create, list, rotate or revoke');
  if (file === undefined)
    throw new Error(`pass the module that exports auth: token ${action} ./auth.js`);
  if (needsId !== (id !== undefined) || more.length > 0)
    throw new Error(
      needsId
        ? `pass the id of one token, which token list shows: token ${action} ./auth.js ID`
        : `token ${action} takes no argument after the module`,
    );
  refuseOthers(action, Object.keys(values));
  const { auth, issuer } = await loginOf(file);
  const record = (done: string, token: string, owner: string): Promise<void> | undefined => {
    const detail = { tokenId: token.slice(0, 6), owner, via: 'cli' };
    const at = new Date().toISOString();
    return auth.record?.({ at, action: `token_${done}`, outcome: 'done', detail }) ?? undefined;
  };
  if (action === 'list') return { output: listed(await issuer.list({ owner: ownerOf(values) })) };
  if (action === 'create') {
    const owner = ownerOf(values);
    if (owner === undefined)
      throw new Error('pass the owner of the token: --owner STRATEGY:USERNAME or --service NAME');
    const { name = values.service ?? 'cli', role: roles } = values;
    const expiresIn = secondsOf('--expires-in', values['expires-in']);
    const created = await issuer.create({ name, owner, roles, expiresIn });
    await record('created', created.id, owner);
    return shown(created);
  }
  const token = (await issuer.list()).find((each) => each.id === id);
  if (!token) throw new Error('no token has this id; token list shows the ids');
  if (action === 'revoke') {
    await issuer.revoke(token.id);
    await record('revoked', token.id, token.owner);
    return { output: `Revoked ${token.id} (${token.name}).\n` };
  }
  const keepOldFor = secondsOf('--keep-old-for', values['keep-old-for']);
  const created = await issuer.rotate(token.id, { keepOldFor });
  await record('rotated', token.id, token.owner);
  return shown(created);
}

/** The options of each action. */
const optionsOf: Readonly<Record<string, readonly string[]>> = {
  create: ['owner', 'service', 'name', 'role', 'expires-in'],
  list: ['owner', 'service'],
  rotate: ['keep-old-for'],
};

function refuseOthers(action: string, given: readonly string[]): void {
  const other = given.find((name) => !optionsOf[action]?.includes(name));
  if (other !== undefined) throw new Error(`token ${action} has no option --${other}`);
}

interface Login {
  auth: Auth;
  issuer: TokenIssuer;
}

/** Imports the module of an app and returns its login. */
async function loginOf(file: string): Promise<Login> {
  const auth = await loginOfModule(file);
  const { issuer } = internalsOf(auth);
  if (!issuer)
    throw new Error(`the login of ${file} has no API tokens: register the strategy apiTokens()`);
  await opened(async () => {
    await auth.usable?.();
    await issuer.list();
  });
  return { auth, issuer };
}

function ownerOf({ owner, service }: { owner?: string; service?: string }): string | undefined {
  if (owner !== undefined && service !== undefined)
    throw new Error('pass either --owner or --service, not both');
  return service === undefined ? owner : `service:${service}`;
}

function secondsOf(option: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (!/^\d{1,10}$/.test(value))
    throw new Error(`${option} must be a whole number of seconds, such as 86400`);
  return Number(value);
}

/** Shows a new token. Only the token goes to standard output, so that scripts can store it. */
function shown({ id, token, roles, expiresAt }: CreatedToken): CommandResult {
  const until = expiresAt.toISOString();
  return {
    output: `${token}\n`,
    note: `id ${id}, ${rolesText(roles)}, expires ${until}. The token is not shown again.\n`,
  };
}

function listed(tokens: readonly TokenInfo[]): string {
  if (tokens.length === 0) return 'There are no tokens.\n';
  return tokens
    .map((token) => {
      const { id, name, owner, roles, ownerChecked, createdAt, expiresAt } = token;
      const { lastUsedAt, lastUsedIp, replacedBy } = token;
      const parts = [
        ...[id, name, owner, rolesText(roles)],
        `created ${createdAt.toISOString()}`,
        `expires ${expiresAt.toISOString()}`,
        lastUsedAt ? `last used ${lastUsedAt.toISOString()} from ${lastUsedIp}` : 'never used',
        ...(ownerChecked || owner.startsWith('service:') ? [] : ['owner not checked']),
        ...(replacedBy === null ? [] : [`replaced by ${replacedBy}`]),
      ];
      return `${parts.join('\t')}\n`;
    })
    .join('');
}

function rolesText(roles: readonly string[]): string {
  return roles.length === 0 ? 'read only' : roles.join(',');
}
