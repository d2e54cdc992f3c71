import { isEnded } from '../../tasks/states.js';
import type { Row } from './database.js';
import { idBytes } from './rows.js';
import { statusOf, summaryRow, type Transaction } from './transaction.js';
import type { Write } from './write.js';

type Of<K extends Write['kind']> = Extract<Write, { kind: K }>;

/** Makes a schedule known. When it runs next stays as it was, unless its rule has changed or nothing was planned. */
export function plan({ database }: Transaction, { name, task, rule, nextAt }: Of<'plan'>): undefined {
  database.run(
    `INSERT INTO schedule (name, task, rule, next_at) VALUES (?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET task = excluded.task, rule = excluded.rule,
       next_at = CASE WHEN rule = excluded.rule THEN coalesce(next_at, excluded.next_at) ELSE excluded.next_at END`,
    name,
    task,
    rule,
    nextAt,
  );
  return undefined;
}

/** Makes the task of a run that is due, if no other process has, and plans the next: in one commit, so that each happens once. */
export function fire(transaction: Transaction, { name, dueAt, nextAt, overlap, task, at }: Of<'fire'>): Row | undefined {
  const { database, inserter } = transaction;
  const schedule = database.get('SELECT next_at, paused_at, last_id FROM schedule WHERE name = ?', name);
  if (!schedule || schedule.next_at !== dueAt || schedule.paused_at !== null) return undefined;
  const skip = task === undefined || (!overlap && !hasEnded(transaction, schedule));
  if (skip) {
    database.run('UPDATE schedule SET next_at = ?, skipped = skipped + 1 WHERE name = ?', nextAt, name);
    return undefined;
  }
  inserter.add(task, at);
  inserter.flush();
  const id = idBytes(String(task.values[0]));
  database.run('UPDATE schedule SET next_at = ?, last_at = ?, last_id = ? WHERE name = ?', nextAt, at, id, name);
  const made = database.get('SELECT seq FROM task WHERE id = ?', id);
  return summaryRow(transaction, Number(made?.seq));
}

function hasEnded({ database }: Transaction, { last_id: id }: Row): boolean {
  const last = id && database.get('SELECT status FROM task WHERE id = ?', id);
  return !last || isEnded(statusOf(last));
}

/** Pauses a schedule, or lets it go on: what it missed meanwhile is not made good. */
export function pauseSchedule({ database }: Transaction, { name, paused, at }: Of<'pauseSchedule'>): boolean {
  const schedule = database.get('SELECT paused_at FROM schedule WHERE name = ?', name);
  if (!schedule) return false;
  if (paused) database.run('UPDATE schedule SET paused_at = coalesce(paused_at, ?) WHERE name = ?', at, name);
  else if (schedule.paused_at !== null) database.run('UPDATE schedule SET paused_at = NULL, next_at = NULL WHERE name = ?', name);
  return true;
}
