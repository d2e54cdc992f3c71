import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { database } from '../../src/auth/strategies/database.js';
import { ldap } from '../../src/auth/strategies/ldap/ldap.js';
import { oidc } from '../../src/auth/strategies/oidc/oidc.js';
import { StrategyRegistry } from '../../src/auth/strategies/registry.js';
import { staticUser } from '../../src/auth/strategies/static-user.js';
import { postForm } from '../helpers/client.js';
import { searchAt } from '../helpers/directory.js';
import { type LoginApp, serveLogin } from '../helpers/login-app.js';
import { cheapHash, password } from '../helpers/passwords.js';

/** A server that accepts connections and never answers. */
let silent: Server;
const sockets = new Set<Socket>();
let app: LoginApp;

beforeAll(async () => {
  silent = createServer((socket) => {
    sockets.add(socket.on('error', () => {}));
  });
  await once(silent.listen(0, '127.0.0.1'), 'listening');
  const { port } = silent.address() as AddressInfo;
  const okta = oidc({ issuer: `http://127.0.0.1:${port}`, clientId: 'tasks', roles: [] });
  const strategies = new StrategyRegistry()
    .register('okta', okta)
    .register('ldap', ldap(searchAt(`ldap://127.0.0.1:${port}`)))
    .register(
      'people',
      database(() => new Promise(() => {})),
    )
    .register('admin', staticUser('admin', cheapHash(password)));
  app = await serveLogin({ strategies });
});
afterAll(async () => {
  await app.close();
  for (const socket of sockets) socket.destroy();
  silent.close();
});

/** Signs in, and resolves to the seconds that it took. */
async function signIn(strategy?: string): Promise<number> {
  const began = performance.now();
  const fields = { username: 'admin', password, ...(strategy && { strategy }) };
  expect((await postForm(app.login, fields)).status).toBe(303);
  return (performance.now() - began) / 1000;
}

it('signs the static administrator in within a second while no other server answers', async () => {
  // Logins and a sign-in that hang at each of the servers.
  const hanging = [
    ...['ldap', 'people'].map((strategy) =>
      postForm(app.login, { username: 'ann', password: 'x', strategy }),
    ),
    fetch(`${app.base}/auth/start/okta`),
  ];
  // The first login of a process also compiles the code.
  await signIn('admin');
  expect(await signIn('admin')).toBeLessThan(1);
  expect(await signIn()).toBeLessThan(1);
  const statuses = (await Promise.all(hanging)).map(({ status }) => status);
  expect(statuses).toEqual([401, 401, 503]);
});
