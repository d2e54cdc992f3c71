// A web process with the dashboard of a file or a Redis server. It prints its port and runs until
// it is killed.
import { createServer } from 'node:http';
import Koa from 'koa';
import { TaskManager, taskAdmin } from 'koa-taskflow';
import { where } from './where.js';

const [place = '', secretKey, ...users] = process.argv.slice(2);
const tasks = new TaskManager({ ...where(place), logger: false });
const auth = users.map((user) => /** @type {[string, string]} */ (user.split(' ')));
const app = new Koa();
app.use(taskAdmin(tasks, { auth, secretKey, throttle: { floor: 0 }, logger: false }));
await tasks.start({ run: false });
const server = createServer(app.callback());
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () =>
  console.log(
    `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`,
  ),
);
