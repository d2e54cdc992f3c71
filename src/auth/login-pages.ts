import type { Context } from 'koa';
import type { Mount } from '../http/mount.js';
import {
  type LoginPage,
  type Method,
  type NoticePage,
  sendLoginPage,
  sendNoticePage,
} from './login-page.js';
import type { Messages } from './messages.js';
import type { Devices } from './sessions/device-cookies.js';
import type { StrategyRegistry } from './strategies/registry.js';
import type { StrategyKind } from './strategies/strategy.js';

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

/** Makes the pages of a login. */
export function loginPages(deps: LoginPagesDeps): LoginPages {
  const { messages, passwordHelp, registry, devices } = deps;
  const labelOf = (name: string): string => registry.get(name)?.label ?? name;
  const methods = (kind: StrategyKind): Method[] =>
    registry.names(kind).map((name) => ({ name, label: labelOf(name) }));
  return {
    messages,
    labelOf,
    login(ctx, more) {
      const [passwords, providers] = [methods('password'), methods('redirect')];
      const hasNone = passwords.length === 0 && providers.length === 0;
      sendLoginPage(ctx, {
        ...frameOf(ctx, deps),
        passwords,
        providers,
        lastUsed: devices.read(ctx)?.strategy,
        passwordHelp,
        ...more,
        ...(hasNone && { notice: messages.onlyRequests }),
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
