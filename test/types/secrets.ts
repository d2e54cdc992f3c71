/*
 * A password and a secret key are text, a secret file or a function. The line below each expected
 * error must not compile.
 */

import type { TaskManager } from 'koa-taskflow';
import {
  createAuth,
  multiUser,
  type Secret,
  secretFile,
  staticUser,
  taskAdmin,
} from 'koa-taskflow';

declare const tasks: TaskManager;
declare function ask(name: string, signal: AbortSignal): Promise<string>;

const file = secretFile(process.env.ADMIN_PASSWORD_FILE);
file satisfies Secret;
staticUser('admin', file);
staticUser('admin', (signal) => ask('admin', signal), { roles: ['viewer'] });
staticUser('admin', () => 'password');
multiUser([
  ['alice', file],
  ['bob', async () => 'password', { roles: ['viewer'] }],
  ['carol', process.env.CAROL],
]);
createAuth({ strategies: ['admin', file], secretKey: file });
createAuth({ strategies: [['admin', file]], secretKey: [file, 'old key', async () => 'older'] });
taskAdmin(tasks, { auth: ['admin', file], secretKey: () => ask('key', AbortSignal.timeout(1)) });

// @ts-expect-error an object with a path is not a secret file
staticUser('admin', { path: '/run/secrets/admin' });
// @ts-expect-error a promise must be returned by a function
staticUser('admin', ask('admin', AbortSignal.timeout(1)));
// @ts-expect-error a function must return text
staticUser('admin', async () => 7);
// @ts-expect-error a user has one password
multiUser([['alice', [file, file]]]);
// @ts-expect-error a list of keys contains no number
createAuth({ strategies: ['admin', file], secretKey: [file, 7] });
// @ts-expect-error a URL is not a path
secretFile(new URL('file:///run/secrets/admin'));
// @ts-expect-error the content is not a property
file.content;
