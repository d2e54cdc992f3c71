// Creates, uses, rotates and revokes an API token. README.md says how to start it.
const base = process.env.TASKS_URL ?? 'http://127.0.0.1:3000/tasks';

/**
 * Sends a request, and prints its status.
 *
 * @param {string} what
 * @param {string} method
 * @param {string} path
 * @param {{ token?: string, body?: object }} options
 * @returns {Promise<any>} the answer
 */
async function send(what, method, path, { token, body } = {}) {
  const response = await fetch(base + path, {
    method,
    headers: {
      Accept: 'application/json',
      ...(token && { Authorization: `Bearer ${token}` }),
      ...(body && { 'Content-Type': 'application/json' }),
    },
    ...(body && { body: JSON.stringify(body) }),
  });
  console.log(`${response.status}  ${what}`);
  return response.status === 204 ? undefined : response.json();
}

const credentials = { username: 'admin', password: process.env.ADMIN_PASSWORD };
const session = await send('sign in', 'POST', '/auth/login', { body: credentials });
if (!session.token) {
  console.error(`${session.detail} Set ADMIN_PASSWORD to the password that the app prints.`);
  // The rest of a module cannot be skipped otherwise.
  process.exit(1);
}
const own = { token: session.token };

const created = await send(
  'create a token that may only read, for an hour',
  'POST',
  '/auth/tokens',
  {
    ...own,
    body: { name: 'example script', roles: [], expiresIn: 3600 },
  },
);
const { token } = created;
const list = await send('read the tasks with the token', 'GET', '?limit=1', { token });
await send('run a task with it: the token has no such role', 'POST', `/${list.items[0].id}/rerun`, {
  token,
  body: {},
});

const rotated = await send('rotate the token', 'POST', `/auth/tokens/${created.id}/rotate`, {
  ...own,
  body: {},
});
await send('read with the old token', 'GET', '?limit=1', { token });
await send('read with the new token', 'GET', '?limit=1', { token: rotated.token });

await send('revoke the new token', 'DELETE', `/auth/tokens/${rotated.id}`, own);
await send('read with the revoked token', 'GET', '?limit=1', { token: rotated.token });
