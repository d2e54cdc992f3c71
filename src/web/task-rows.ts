import { bulkRows } from './bulk-actions.js';
import { exportRows } from './export-rows.js';
import { listRows, serviceRows } from './list-rows.js';
import { controlRows, taskActionRows } from './task-actions.js';
import { detailRows } from './task-detail.js';

/**
 * Every route of the tasks, in the order of the OpenAPI document. Fixed paths stand before
 * `/:id`, which matches them too.
 */
export const taskRows = [
  ...listRows,
  ...exportRows,
  ...serviceRows,
  ...bulkRows,
  ...controlRows,
  ...detailRows,
  ...taskActionRows,
];
