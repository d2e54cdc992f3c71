import { TaskflowError } from '../errors.js';
import { type Access, type AuditEvent, type AuditQuery, openAccess, type Page } from '../http/access.js';
import { type Logger, loggerOption, numberOption } from '../options.js';
import type { SharedStore } from '../store/shared-store.js';

/** Who did what, kept in a store: the half of {@link Access} that remembers. */
export type AuditTrail = Required<Pick<Access, 'record' | 'audit'>>;

interface AuditTrailParts {
  store: SharedStore;
  /** Where the login or the dashboard stands: each has a trail of its own. */
  path: string;
  retentionDays: number;
  logger: Logger;
}

/** Rows read for one question at most; a filter that matches few of them answers with fewer, and a cursor to go on from. */
const maxRead = 5000;

/** Reads the option `auditRetentionDays`. */
export function retentionOption(value: unknown): number {
  return numberOption('auditRetentionDays', value, 90, { min: 0, above: true, max: 3650, unit: 'days' });
}

/** A trail in the store, each row kept for so many days. A row that cannot be stored is logged, and changes no answer. */
export function auditTrail({ store, path, retentionDays, logger }: AuditTrailParts): AuditTrail {
  const log = `auth:${path}:audit`;
  return {
    record(event) {
      const append = async (): Promise<void> => {
        const row = JSON.parse(JSON.stringify(event)) as Record<string, string>;
        await store.append(log, row, retentionDays * 86_400);
      };
      append().catch((error: unknown) => {
        logger.error(
          { event: 'audit_failed', action: event.action, reason: String(error).slice(0, 200) },
          'an audit row could not be stored',
        );
      });
    },
    async audit(query) {
      return readTrail(store, log, query);
    },
  };
}

/** Options of {@link auditedAccess}. */
interface AuditedOptions {
  store: SharedStore;
  path: string;
  auditRetentionDays: number | undefined;
  logger: Logger | false | undefined;
}

/** Returns the app's own login, or open access without one. Audit rows go to the store unless the login keeps them itself. */
export function auditedAccess(access: Access | undefined, { store, path, auditRetentionDays, logger }: AuditedOptions): Access {
  const retentionDays = retentionOption(auditRetentionDays);
  const trail = auditTrail({ store, path, retentionDays, logger: loggerOption('logger', logger) });
  if (access === undefined) return openAccess(trail);
  if (access.record && access.audit) return access;
  const { loginUrl, logoutUrl, ended, usable, describe, strategies, cookieName } = access;
  // Methods of the app's object keep their own `this`.
  return {
    ...trail,
    who: access.who.bind(access),
    ...(loginUrl && { loginUrl: loginUrl.bind(access) }),
    ...(logoutUrl && { logoutUrl: logoutUrl.bind(access) }),
    ...(ended && { ended: ended.bind(access) }),
    ...(usable && { usable: usable.bind(access) }),
    ...(describe && { describe: describe.bind(access) }),
    ...(strategies && { strategies: strategies.bind(access) }),
    ...(cookieName && { cookieName: cookieName.bind(access) }),
  };
}

async function readTrail(store: SharedStore, log: string, query: AuditQuery): Promise<Page<AuditEvent>> {
  const limit = query.limit ?? 50;
  if (query.cursor !== undefined && !/^\d{1,15}$/.test(query.cursor))
    throw new TaskflowError('INVALID_CURSOR', 'cursor is not the nextCursor of a list.');
  const items: AuditEvent[] = [];
  let cursor = query.cursor;
  for (let read = 0; read < maxRead; ) {
    // No more than are still wanted, so that the cursor of the last page read is the answer's.
    const page = await store.page(log, cursor, limit - items.length);
    read += limit - items.length;
    items.push(...(page.items as unknown as AuditEvent[]).filter((event) => matches(event, query)));
    if (page.nextCursor === null) return { items, nextCursor: null };
    cursor = page.nextCursor;
    if (items.length >= limit) break;
  }
  return { items, nextCursor: cursor ?? null };
}

function matches({ action, actor, outcome, at }: AuditEvent, query: AuditQuery): boolean {
  const time = Date.parse(at);
  return (
    (query.action === undefined || action === query.action) &&
    (query.actor === undefined || actor === query.actor) &&
    (query.outcome === undefined || outcome === query.outcome) &&
    (query.from === undefined || time >= query.from) &&
    (query.to === undefined || time < query.to)
  );
}
