// The table of users, which web.js and user.js use.
import { hash } from '@node-rs/bcrypt';
import { DatabaseSync } from 'koa-taskflow/sqlite';

const sql = new DatabaseSync(process.env.DATABASE ?? 'users.db');
sql.exec('CREATE TABLE IF NOT EXISTS users (name TEXT PRIMARY KEY, password_hash TEXT, role TEXT)');
const select = sql.prepare('SELECT name, password_hash AS hash, role FROM users WHERE name = ?');
const insert = sql.prepare('INSERT OR REPLACE INTO users VALUES (?, ?, ?)');
const remove = sql.prepare('DELETE FROM users WHERE name = ?');

/**
 * Finds a user. Names are in lower case.
 *
 * @param {string} name
 * @returns {{ name: string, hash: string, role: string } | undefined}
 */
export const findUser = (name) => /** @type {any} */ (select.get(name.toLowerCase()));

/**
 * Adds a user, or changes one.
 *
 * @param {string} name
 * @param {string} password
 * @param {string} role
 */
export async function addUser(name, password, role) {
  insert.run(name.toLowerCase(), await hash(password, 12), role);
}

/** @param {string} name */
export function removeUser(name) {
  remove.run(name.toLowerCase());
}
