import type { Database } from '../schema/database.js';
import { stateCode } from '../schema/states.js';

/** Number of tasks that one transaction removes. */
const atOnce = 2000;

/**
 * Removes the pending tasks, the schedules and the pauses after they were moved to another engine.
 * The history stays in the file. No other connection may have the file open.
 */
export function removePending(database: Database): void {
  database.exec('CREATE TEMP TABLE leaving (rowid INTEGER PRIMARY KEY)');
  for (;;) {
    database.exec('BEGIN IMMEDIATE');
    database.run(
      `INSERT INTO leaving SELECT rowid FROM task WHERE status = ${stateCode.pending} ORDER BY id
        LIMIT ?`,
      atOnce,
    );
    const isLast = database.get('SELECT 1 FROM leaving LIMIT 1') === undefined;
    database.exec(isLast ? rest : oneBatch);
    database.exec('COMMIT');
    if (isLast) break;
  }
  database.exec('DROP TABLE leaving');
}

/** Removes a batch of pending tasks, their data and their counts. */
const oneBatch = `
UPDATE tag_count SET n = tag_count.n - gone.n
  FROM (SELECT t.key, t.value, count(*) AS n FROM leaving
    JOIN task USING (rowid), json_each(task.tags) AS t
    WHERE task.tags IS NOT NULL GROUP BY t.key, t.value) AS gone
  WHERE tag_count.key = gone.key AND tag_count.value = gone.value;
DELETE FROM tag WHERE (key, value, id) IN
  (SELECT t.key, t.value, task.id FROM leaving JOIN task USING (rowid), json_each(task.tags) AS t
    WHERE task.tags IS NOT NULL);
DELETE FROM attempt WHERE task IN (SELECT rowid FROM leaving);
DELETE FROM log WHERE task IN (SELECT rowid FROM leaving);
DELETE FROM task WHERE rowid IN (SELECT rowid FROM leaving);
DELETE FROM leaving;
`;

/** Removes what is left when no task is pending. */
const rest = `
DELETE FROM tag_count WHERE n <= 0;
DELETE FROM task_count WHERE status = ${stateCode.pending};
DELETE FROM failure_count WHERE status = ${stateCode.pending};
DELETE FROM idempotency;
DELETE FROM schedule;
DELETE FROM paused;
UPDATE partition SET paused = 0, ready_priority = NULL, ready_id = NULL;
`;
