import { TaskflowError } from '../errors.js';
import {
  type Access,
  type AuditEvent,
  type AuditQuery,
  openAccess,
  type Page,
  recordEvent,
} from '../http/access.js';
import { type Logger, loggerOption, numberOption } from '../options.js';
import type { SharedStore } from '../store/shared-store.js';
import { limitedStore } from './time-limit.js';

/** Writes audit events to a store and reads them back: the audit methods of {@link Access}. */
export interface AuditTrail extends Required<Pick<Access, 'record' | 'audit'>> {
  record(event: AuditEvent): Promise<void>;
}

interface AuditTrailDeps {
  store: SharedStore;
  /** The path of the login or dashboard. Each path has its own trail. */
  path: string;
  retentionDays: number;
  logger: Logger;
}

/**
 * About how many rows one query reads at most. If the filter matches few of them, the page has
 * fewer items than its limit.
 */
const maxRead = 5000;

/** Reads the option `auditRetentionDays`. */
export function retentionOption(name: string, value: number | undefined): number {
  return numberOption(name, value, 90, { above: true, max: 3650, unit: 'days' });
}

/**
 * Makes an audit trail that keeps each row in the store for `retentionDays`. If it cannot store a
 * row, it logs the error. The response to the request stays the same.
 */
export function auditTrail({ store, path, retentionDays, logger }: AuditTrailDeps): AuditTrail {
  const log = `auth:${path}:audit`;
  return {
    record(event) {
      const append = (): Promise<void> => {
        const row = JSON.parse(JSON.stringify(event)) as Record<string, string>;
        return store.append(log, row, retentionDays * 86_400);
      };
      return recordEvent(event, append, logger);
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
  auditRetentionDays?: number | undefined;
  logger?: Logger | false | undefined;
}

/**
 * Returns the access of the app's own login, or open access if the app has no login. Audit rows go
 * to the store unless the login has both audit methods. If it has only `record`, each row goes to
 * both. If it has only `audit`, rows are stored but not read.
 */
export function auditedAccess(
  access: Access | undefined,
  { store, path, auditRetentionDays, logger }: AuditedOptions,
): Access {
  const retentionDays = retentionOption('auditRetentionDays', auditRetentionDays);
  const trail = auditTrail({
    ...{ store: limitedStore(store), path, retentionDays },
    logger: loggerOption('logger', logger),
  });
  if (access === undefined) return openAccess(trail);
  if (access.record && access.audit) return access;
  const { loginUrl, logoutUrl, ended, usable, describe, strategies, login, cookieName, health } =
    access;
  // The methods are bound, so that those of the app's object keep their `this`.
  return {
    record(event) {
      void trail.record(event);
      return access.record?.(event);
    },
    audit: access.audit?.bind(access) ?? trail.audit,
    who: access.who.bind(access),
    ...(loginUrl && { loginUrl: loginUrl.bind(access) }),
    ...(logoutUrl && { logoutUrl: logoutUrl.bind(access) }),
    ...(ended && { ended: ended.bind(access) }),
    ...(usable && { usable: usable.bind(access) }),
    ...(describe && { describe: describe.bind(access) }),
    ...(strategies && { strategies: strategies.bind(access) }),
    ...(login && { login: login.bind(access) }),
    ...(health && { health: health.bind(access) }),
    ...(cookieName && { cookieName: cookieName.bind(access) }),
  };
}

async function readTrail(
  store: SharedStore,
  log: string,
  query: AuditQuery,
): Promise<Page<AuditEvent>> {
  const limit = query.limit ?? 50;
  if (query.cursor !== undefined && !/^\d{1,15}$/.test(query.cursor))
    throw new TaskflowError('INVALID_CURSOR', 'cursor is not the nextCursor of a list.');
  const items: AuditEvent[] = [];
  let cursor = query.cursor;
  for (let read = 0; read < maxRead; ) {
    // Each read asks only for the missing items, so that the cursor of the last read is also the
    // cursor of this page.
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
