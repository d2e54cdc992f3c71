import type { Context } from 'koa';
import type { SignInMethod } from '../http/access.js';
import type { Mount } from '../http/mount.js';
import { type LoginPage, type NoticePage, sendLoginPage, sendNoticePage } from './login-page.js';
import type { Messages } from './messages.js';
import type { Devices } from './sessions/device-cookies.js';
import type { StrategyRegistry } from './strategies/registry.js';

interface LoginPagesDeps {
  title: string;
  logo: string | undefined;
  messages: Messages;
  /** Address of a page that helps with a forgotten password. */
  passwordHelp: string | undefined;
  mount: Mount;
  registry: Pick<StrategyRegistry, 'get' | 'names'>;
  devices: Pick<Devices, 'read'>;
}

/** Sends the pages of a login, which have the same title, logo, texts and ways to sign in. */
export interface LoginPages {
  readonly messages: Messages;
  /** Returns what the pages call a strategy. */
  labelOf(strategy: string): string;
  /** Sends the login page. */
  login(ctx: Context, more: Partial<LoginPage>): void;
  /** Sends a page with one text and one link. */
  notice(ctx: Context, page: Omit<NoticePage, keyof ReturnType<typeof frameOf>>): void;
}

/** Returns the ways to sign in, first those with a password. */
export function signInMethods(registry: Pick<StrategyRegistry, 'get' | 'names'>): SignInMethod[] {
  return (['password', 'redirect'] as const).flatMap((kind) =>
    registry.names(kind).map((name) => ({ name, label: labelIn(registry, name), kind })),
  );
}

function labelIn(registry: Pick<StrategyRegistry, 'get'>, name: string): string {
  return registry.get(name)?.label ?? name;
}

/** Makes the pages of a login. */
export function loginPages(deps: LoginPagesDeps): LoginPages {
  const { messages, passwordHelp, registry, devices } = deps;
  return {
    messages,
    labelOf: (name) => labelIn(registry, name),
    login(ctx, more) {
      const methods = signInMethods(registry);
      sendLoginPage(ctx, {
        ...frameOf(ctx, deps),
        methods,
        lastUsed: devices.read(ctx)?.strategy,
        passwordHelp,
        ...more,
        ...(methods.length === 0 && { notice: messages.onlyRequests }),
      });
    },
    notice: (ctx, page) => sendNoticePage(ctx, { ...frameOf(ctx, deps), ...page }),
  };
}

function frameOf(
  ctx: Context,
  { title, logo, messages, mount }: Pick<LoginPagesDeps, 'title' | 'logo' | 'messages' | 'mount'>,
) {
  return { title, logo, messages, prefix: mount.outside(ctx) };
}
