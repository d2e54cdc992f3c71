// Adds or removes a user of the database. README.md says how to start it.
import { randomBytes } from 'node:crypto';
import { addUser, removeUser } from './users.js';

const [command, name, role = 'viewer'] = process.argv.slice(2);
if (command === 'add' && name) {
  const password = randomBytes(9).toString('base64url');
  await addUser(name, password, role);
  console.log(`Sign in   ${name} / ${password}`);
} else if (command === 'remove' && name) {
  removeUser(name);
} else {
  console.error('Usage: node examples/database/user.js add NAME [ROLE] | remove NAME');
  process.exitCode = 1;
}
