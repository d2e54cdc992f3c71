import type { Context } from 'koa';
import { TaskflowError } from '../errors.js';
import type { Access, AuditQuery } from '../http/access.js';
import { ignoreDisconnects } from '../http/client-disconnect.js';
import { readTime } from '../tasks/time-text.js';
import { type ExportFormat, exportAudit, exportTasks, exportTypes, searchedOf } from './export.js';
import { type Input, readRow } from './row.js';

const service = { requiredRole: 'viewer', tag: 'service', errors: [501] } as const;

/** The routes of the audit, and those of exports. */
export const exportRows = [
  readRow('GET /audit', {
    ...service,
    id: 'listAudit',
    summary: 'The audit log, newest first',
    query: 'auditQuery',
    answer: 'auditPage',
    handler: async ({ access, query: { limit = 50, cursor, ...conditions } }) =>
      auditOf(access)({ ...conditionsOf(conditions), limit, cursor }),
  }),
  readRow('GET /audit/export', {
    ...service,
    id: 'exportAudit',
    summary: 'The filtered audit as a file',
    query: 'auditExportQuery',
    answer: 'auditFile',
    handler: async ({ ctx, access, query: { format, ...conditions } }) => {
      const audit = auditOf(access);
      asFile(ctx, 'audit', format);
      return exportAudit(audit, conditionsOf(conditions), format);
    },
  }),
  readRow('GET /export', {
    id: 'exportTasks',
    summary: 'The filtered list as a file',
    tag: 'tasks',
    requiredRole: 'viewer',
    query: 'exportQuery',
    answer: 'taskFile',
    handler: async ({ ctx, tasks, query: { format, from, to, ...conditions } }) => {
      // A time relative to now stays the same for all pages of the export.
      const now = Date.now();
      const query = { ...conditions, from: dateAt(from, now), to: dateAt(to, now) };
      const searched = await searchedOf(tasks, query);
      if (searched !== undefined) ctx.set('Taskflow-Searched', String(searched));
      asFile(ctx, 'tasks', format);
      return exportTasks(tasks, query, format);
    },
  }),
];

function dateAt(text: string | undefined, now: number): Date | undefined {
  const time = readTime(text, now);
  return time === undefined ? undefined : new Date(time);
}

/** Makes the answer a file that is saved. A client that disconnects before its end is no error. */
function asFile(ctx: Context, name: string, format: ExportFormat): void {
  ignoreDisconnects(ctx);
  ctx.attachment(`${name}.${format}`);
  ctx.type = exportTypes[format];
}

function auditOf(access: Access): NonNullable<Access['audit']> {
  if (!access.audit)
    throw new TaskflowError('NOT_SUPPORTED', 'The login of this app keeps no audit log.');
  return access.audit.bind(access);
}

function conditionsOf({
  from,
  to,
  ...conditions
}: Omit<Input<'auditQuery'>, 'limit' | 'cursor'>): AuditQuery {
  const now = Date.now();
  return { ...conditions, from: readTime(from, now), to: readTime(to, now) };
}
