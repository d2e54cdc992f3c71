import type { WorkerRow } from '../../this-process.js';
import type { Database } from '../schema/database.js';

/** A process that belongs to another app. */
export interface OtherApp {
  host: string;
  pid: number;
  app: string;
}

/**
 * Returns a process of another app that has the file open, if any. Two processes belong to
 * different apps if both are true:
 * - Their main scripts are in different packages.
 * - Both define tasks, but none with the same name.
 *
 * The web and worker processes of one app share the package or names. A process that defines no
 * task, such as one that only serves the dashboard, belongs to any app.
 */
export function otherApp(database: Database, self: WorkerRow): OtherApp | undefined {
  return database.get<OtherApp>(
    `SELECT host, pid, app FROM worker
     WHERE owner <> ? AND app NOT IN ('', ?) AND json_array_length(tasks) > 0
       AND json_array_length(?) > 0
       AND NOT EXISTS (SELECT 1 FROM json_each(worker.tasks) JOIN json_each(?) AS own USING (value))
         LIMIT 1`,
    ...[self.owner, self.app, JSON.stringify(self.tasks), JSON.stringify(self.tasks)],
  );
}
