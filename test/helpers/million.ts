import { DatabaseSync } from '@photostructure/sqlite';

/**
 * Makes many ended tasks of the few that a file has: each is copied so many times, to an earlier
 * time, with its place in every index and in the counts. Takes a fraction of what running them
 * would. No manager may have the file open.
 */
export function multiplyTasks(path: string, times: number): void {
  const database = new DatabaseSync(path);
  try {
    // Written once: what is copied is there twice else, and the disk of all other tests is busy
    // with it.
    database.exec(
      'PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -200000; BEGIN ' +
        'IMMEDIATE',
    );
    const columns = database
      .prepare("SELECT name FROM pragma_table_info('task')")
      .all()
      .map((row) => String((row as { name: string }).name));
    const one = database.prepare('SELECT max(seq) AS last, count(*) AS n FROM task').get() as {
      last: number;
      n: number;
    };
    const taken: Record<string, string> = {
      // Each copy has a number of its own, before those that are there, and an id of an earlier
      // second.
      seq: `seq + each.k * ${one.last}`,
      rev: `rev - each.k * ${one.last}`,
      id: "unhex(printf('%012x', ((run_at / 1000) - each.k) * 1000) || substr(hex(id), 13))",
      run_at: 'run_at - each.k * 1000',
      started_at: 'started_at - each.k * 1000',
      ended_at: 'ended_at - each.k * 1000',
      // The words of a failure are found once.
      searchable: 'CASE WHEN searchable IS NULL THEN NULL ELSE 1 END',
    };
    database.exec(`
      WITH RECURSIVE each (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM each WHERE k < ${times - 1})
      INSERT INTO task (${columns.join(', ')})
        SELECT ${columns.map((name) => taken[name] ?? name).join(', ')} FROM each CROSS JOIN task
          WHERE task.seq <= ${one.last} AND status > 1;
      UPDATE task_count SET n = n * ${times} WHERE status > 1;
      UPDATE failure_count SET n = n * ${times};
      UPDATE meta SET value = value + ${times * one.last} WHERE key = 'seq';
    `);
    database.exec('COMMIT; PRAGMA journal_mode = WAL');
  } finally {
    database.close();
  }
}
