import { signal } from '@preact/signals';

const themes = ['system', 'light', 'dark'] as const;

export type Theme = (typeof themes)[number];

const fixed = document.documentElement.dataset.theme;

export const theme = signal<Theme>(fixed === 'light' || fixed === 'dark' ? fixed : 'system');

/** The next theme, kept in a cookie so that the server can put it into the page before it is painted. */
export function nextTheme(): void {
  theme.value = themes[(themes.indexOf(theme.value) + 1) % themes.length] ?? 'system';
  if (theme.value === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
  const seconds = theme.value === 'system' ? 0 : 31_536_000;
  // biome-ignore lint/suspicious/noDocumentCookie: the Cookie Store API is not in every browser yet.
  document.cookie = `tf_theme=${theme.value}; Path=/; Max-Age=${seconds}; SameSite=Lax`;
}
