import type { DashboardFacts } from '../../client/client.js';

interface DashboardPage {
  /** Text of the link and of the heading. */
  label: string;
  /** The key that opens the page after `g`. */
  key: string;
  /**
   * Exported name of the component. The frame resolves it, since most components load on demand.
   */
  component: string;
  /** Whether a phone shows the link beside "More", which holds the others. */
  onPhone?: boolean;
  /** Whether there is something to show on the page. Default: always. */
  isOffered?(bootstrap: DashboardFacts): boolean;
}

/**
 * Every page of the dashboard, by its `view` parameter and in the order of the links. Addresses,
 * navigation, shortcuts and help are derived from this table.
 */
export const pages = {
  overview: { label: 'Overview', key: 'o', component: 'OverviewPage', onPhone: true },
  tasks: { label: 'Tasks', key: 't', component: 'TasksPage', onPhone: true },
  failures: { label: 'Failures', key: 'f', component: 'FailuresPage', onPhone: true },
  schedules: { label: 'Schedules', key: 's', component: 'SchedulesPage' },
  queues: { label: 'Queues', key: 'q', component: 'QueuesPage', onPhone: true },
  functions: { label: 'Functions', key: 'n', component: 'FunctionsPage' },
  audit: {
    label: 'Audit',
    key: 'a',
    component: 'AuditPage',
    isOffered: ({ audited, loginUrl }) => audited || loginUrl !== null,
  },
  settings: { label: 'Settings', key: ',', component: 'SettingsPage' },
} as const satisfies Record<string, DashboardPage>;

export type PageName = keyof typeof pages;

export const pageNames = Object.keys(pages) as readonly PageName[];

/** Pages that this user is offered. */
export function offeredPages(bootstrap: DashboardFacts): readonly PageName[] {
  return pageNames.filter((name) => (pages[name] as DashboardPage).isOffered?.(bootstrap) ?? true);
}

/** Pages whose link a phone shows beside "More". */
export function isOnPhone(name: PageName): boolean {
  return (pages[name] as DashboardPage).onPhone ?? false;
}
