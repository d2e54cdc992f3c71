/**
 * The entry of the second script, which loads on demand. It contains the larger dialogs and the
 * pages that users rarely open first.
 */
export { AuditPage } from './audit/audit.js';
export { FailuresPage } from './failures/failures.js';
export { FunctionsPage } from './functions.js';
export { QueuesPage } from './queues/queues.js';
export { SchedulesPage } from './schedules/schedules.js';
export { SettingsPage } from './settings.js';
export { rerunTask } from './task-list/rerun.js';
export { TokensPage } from './tokens/tokens.js';
