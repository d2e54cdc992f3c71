import { existsSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type CommandResult, loginOfModule } from '../app-module.js';
import { type Auth, internalsOf } from '../auth.js';
import type { Finding } from '../strategies/command-port.js';
import { dryRun, explanationText } from './dry-run.js';
import { mapTexts, secretsHider } from './hidden-secrets.js';
import { loginFindings } from './login-findings.js';
import { pageFindings } from './page-findings.js';
import { publicBase, urlOption } from './public-login.js';
import { reportOf, type Section, textOf } from './report.js';
import { strategyFindings } from './strategy-findings.js';

/*
 * `koa-taskflow doctor` looks at a login from outside: at its options, its strategies, and its page
 * behind the proxies. `secretsHider` removes secrets from each text of the output.
 */

const text = { type: 'string' } as const;

interface Wanted {
  file: string;
  url?: URL | undefined;
  strategy?: string | undefined;
  user?: string | undefined;
  claims?: string | undefined;
  json: boolean;
}

/** Runs the command `doctor`. The code is 1 if it found a fault, or if the user is rejected. */
export async function doctorCommand(args: readonly string[]): Promise<CommandResult> {
  const wanted = readArguments(args);
  let auth: Auth;
  try {
    auth = await loginOfModule(wanted.file);
  } catch (error) {
    return show(wanted, secretsHider([]), [brokenLogin(error)]);
  }
  const hide = secretsHider(internalsOf(auth).secrets());
  try {
    if (wanted.user !== undefined || wanted.claims !== undefined)
      return await explain(auth, wanted, hide);
    return show(wanted, hide, await sectionsOf(auth, wanted));
  } catch (error) {
    throw new Error(hide(error instanceof Error ? error.message : String(error)));
  }
}

function readArguments(args: readonly string[]): Wanted {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { url: text, strategy: text, user: text, claims: text, json: { type: 'boolean' } },
  });
  const [file, ...more] = positionals;
  if (file === undefined || more.length > 0)
    throw new Error('pass the module that exports auth: doctor ./auth.js');
  const { strategy, user, claims, url, json = false } = values;
  if ((user !== undefined || claims !== undefined) && strategy === undefined)
    throw new Error('a dry run needs the name of a strategy: --strategy NAME');
  return { file, strategy, user, claims, json, ...(url !== undefined && { url: urlOption(url) }) };
}

function brokenLogin(error: unknown): Section {
  const found = error instanceof Error ? error.message : String(error);
  const todo = 'correct this error, so that the login can be checked';
  return { name: 'login', findings: [{ mark: 'fault', what: 'module', found, todo }] };
}

async function sectionsOf(auth: Auth, { url, strategy }: Wanted): Promise<readonly Section[]> {
  const { registry, options, mount } = internalsOf(auth);
  const base = url === undefined ? options.publicUrl : publicBase(url, mount.prefix);
  const urlOf = (route: string): string | undefined =>
    base === undefined ? undefined : (options.publicUrl ?? base) + mount.prefix + route;
  const names = strategy === undefined ? registry.names() : [strategy];
  const strategies = await strategyFindings(registry, names, urlOf);
  const page: readonly Finding[] =
    url === undefined || base === undefined
      ? []
      : await pageFindings({ base, prefix: mount.prefix, options, registry });
  return [
    ...(strategy === undefined
      ? [{ name: `login at ${mount.path}`, findings: await loginFindings(options) }]
      : []),
    ...(page.length > 0 ? [{ name: `${base}${mount.prefix}`, findings: page }] : []),
    ...strategies,
  ];
}

async function explain(
  auth: Auth,
  { strategy = '', user, claims, json }: Wanted,
  hide: (text: string) => string,
): Promise<CommandResult> {
  const explanation = mapTexts(
    await dryRun(internalsOf(auth).registry, strategy, {
      ...(user !== undefined && { username: user }),
      ...(claims !== undefined && { claims: readClaims(claims) }),
    }),
    hide,
  );
  const output = json
    ? `${JSON.stringify({ strategy, ...explanation })}\n`
    : explanationText(strategy, explanation);
  return { output, code: explanation.roles === false ? 1 : 0 };
}

function readClaims(file: string): Readonly<Record<string, unknown>> {
  if (!existsSync(file)) throw new Error(`the file ${file} of --claims does not exist`);
  const content = readFileSync(file, 'utf8');
  let claims: unknown;
  try {
    claims = JSON.parse(content);
  } catch {
    // The error of JSON.parse shows a part of the file, which may hold a token.
    throw new Error(`${file} is not JSON: write the claims as { "sub": "…", "groups": ["…"] }`);
  }
  if (typeof claims !== 'object' || claims === null || Array.isArray(claims))
    throw new Error(`${file} must hold an object: { "sub": "…", "groups": ["…"] }`);
  return claims as Record<string, unknown>;
}

function show(
  { json }: Wanted,
  hide: (text: string) => string,
  sections: readonly Section[],
): CommandResult {
  const report = reportOf(mapTexts(sections, hide));
  const output = json ? `${JSON.stringify(report)}\n` : textOf(report);
  return { output, code: report.faults > 0 ? 1 : 0 };
}
