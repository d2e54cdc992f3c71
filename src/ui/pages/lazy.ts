/**
 * What the second script holds, which loads on demand: the pages that seldom come first, and the
 * larger dialogs.
 */
export { AuditPage } from './audit/audit.js';
export { FailuresPage } from './failures/failures.js';
export { FunctionsPage } from './functions.js';
export { QueuesPage } from './queues/queues.js';
export { SchedulesPage } from './schedules/schedules.js';
export { SettingsPage } from './settings.js';
export { rerunTask } from './task-list/rerun.js';
