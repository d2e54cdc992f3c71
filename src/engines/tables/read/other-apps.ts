import type { WorkerRow } from '../../this-process.js';
import type { Database } from '../schema/database.js';

/** A process of another app. */
export interface OtherApp {
  host: string;
  pid: number;
  app: string;
}

/**
 * Returns a process that has the file open and belongs to another app: its main script lies in
 * another package, and the two define tasks but none of the same name. The web and worker processes
 * of one app share the package or names; a process that defines no task, such as one for the
 * dashboard alone, belongs to any app.
 */
export function otherApp(database: Database, self: WorkerRow): OtherApp | undefined {
  const row = database.get(
    `SELECT host, pid, app FROM worker
     WHERE owner <> ? AND app NOT IN ('', ?) AND json_array_length(tasks) > 0
       AND json_array_length(?) > 0
       AND NOT EXISTS (SELECT 1 FROM json_each(worker.tasks) JOIN json_each(?) AS own USING (value))
         LIMIT 1`,
    ...[self.owner, self.app, JSON.stringify(self.tasks), JSON.stringify(self.tasks)],
  );
  return row && { host: String(row.host), pid: Number(row.pid), app: String(row.app) };
}
