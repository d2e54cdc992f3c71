import { DatabaseSync } from '@photostructure/sqlite';

/**
 * Copies the ended tasks of a file many times, to earlier times, with all index entries and counts.
 * That takes a fraction of the time of running them. No manager may have the file open.
 */
export function multiplyTasks(path: string, times: number): void {
  const database = new DatabaseSync(path);
  try {
    // Without a journal, each page is written only once. Otherwise the disk would be busy for all
    // other tests.
    database.exec(
      'PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -200000; BEGIN ' +
        'IMMEDIATE',
    );
    const columns = database
      .prepare("SELECT name FROM pragma_table_info('task')")
      .all()
      .map((row) => String((row as { name: string }).name));
    const one = database.prepare('SELECT max(rowid) AS last, count(*) AS n FROM task').get() as {
      last: number;
      n: number;
    };
    const taken: Record<string, string> = {
      // Each copy has its own row id before the existing ones, and the id of an earlier second.
      rowid: `rowid + each.k * ${one.last}`,
      rev: `rev - each.k * ${one.last}`,
      id: "unhex(printf('%012x', ((run_at / 1000) - each.k) * 1000) || substr(hex(id), 13))",
      run_at: 'run_at - each.k * 1000',
      started_at: 'started_at - each.k * 1000',
      ended_at: 'ended_at - each.k * 1000',
      // Search finds the words of a failure only once.
      searchable: 'CASE WHEN searchable IS NULL THEN NULL ELSE 1 END',
    };
    database.exec(`
      WITH RECURSIVE each (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM each WHERE k < ${times - 1})
      INSERT INTO task (${columns.join(', ')})
        SELECT ${columns.map((name) => taken[name] ?? name).join(', ')} FROM each CROSS JOIN task
          WHERE task.rowid <= ${one.last} AND status > 1;
      UPDATE task_count SET n = n * ${times} WHERE status > 1;
      UPDATE failure_count SET n = n * ${times};
      UPDATE meta SET value = value + ${times * one.last} WHERE key = 'rowid';
    `);
    database.exec('COMMIT; PRAGMA journal_mode = WAL');
  } finally {
    database.close();
  }
}
