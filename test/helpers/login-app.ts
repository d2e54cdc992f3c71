import Koa from 'koa';
import type { Auth } from '../../src/auth/auth.js';
import type { AuthOptions } from '../../src/auth/auth-options.js';
import { createAuth } from '../../src/auth/create-auth.js';
import { loginRoutes } from '../../src/auth/login-routes.js';
import { sessionToken } from '../../src/auth/session-token.js';
import { recordingLogger } from './logs.js';
import { cheapHash, password, secretKey } from './passwords.js';
import { type Served, serve } from './serve.js';

export interface LoginApp extends Served {
  auth: Auth;
  log: ReturnType<typeof recordingLogger>;
  /** The URL of the mount. */
  base: string;
  login: string;
}

/**
 * Serves an app with only a login, on its own port. The user is admin. Other routes answer with the
 * signed-in user.
 */
export async function serveLogin(
  options: Partial<AuthOptions> = {},
  koa: { proxy?: boolean; maxIpsCount?: number } = {},
): Promise<LoginApp> {
  const log = recordingLogger();
  const auth = createAuth({
    strategies: ['admin', cheapHash(password)],
    secretKey,
    logger: log.logger,
    ...options,
  });
  const app = new Koa(koa);
  app.silent = true;
  app.use(sessionToken(auth));
  app.use(loginRoutes(auth));
  app.use((ctx) => {
    ctx.body = { name: ctx.state.session?.username ?? null };
  });
  const served = await serve(app);
  const base = served.url + (auth.path === '/' ? '' : auth.path);
  return { ...served, auth, log, base, login: `${base}/auth/login` };
}
