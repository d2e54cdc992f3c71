import type { DashboardFacts } from '../../client/client.js';

interface DashboardPage {
  /** Text of the link and the heading. */
  label: string;
  /** The key that opens the page after `g`. */
  key: string;
  /** Name of the component. The frame resolves it, because most components load on demand. */
  component: string;
  /** Whether a phone shows the link next to "More", which contains the other links. */
  onPhone?: boolean;
  /** Whether the page has content for this user. Default: always. */
  isOffered?(bootstrap: DashboardFacts): boolean;
}

/**
 * Every page of the dashboard, by its `view` parameter and in the order of the links. The
 * addresses, the navigation, the shortcuts and the help are derived from this table.
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
  tokens: {
    label: 'API tokens',
    key: 'k',
    component: 'TokensPage',
    isOffered: ({ login, loginUrl }) => login?.issuesTokens === true && loginUrl !== null,
  },
  settings: { label: 'Settings', key: ',', component: 'SettingsPage' },
} as const satisfies Record<string, DashboardPage>;

export type PageName = keyof typeof pages;

export const pageNames = Object.keys(pages) as readonly PageName[];

/** Returns the pages that this user can open. */
export function offeredPages(bootstrap: DashboardFacts): readonly PageName[] {
  return pageNames.filter((name) => (pages[name] as DashboardPage).isOffered?.(bootstrap) ?? true);
}

/** Whether a phone shows the link to a page next to "More". */
export function isOnPhone(name: PageName): boolean {
  return (pages[name] as DashboardPage).onPhone ?? false;
}
