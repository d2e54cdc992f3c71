import { signal } from '@preact/signals';

export const themes = ['system', 'light', 'dark'] as const;

export type Theme = (typeof themes)[number];

const fixed = document.documentElement.dataset.theme;

export const theme = signal<Theme>(fixed === 'light' || fixed === 'dark' ? fixed : 'system');

/**
 * Sets the theme and stores it in a cookie, so that the server can set it before the first paint.
 */
export function setTheme(chosen: Theme): void {
  theme.value = chosen;
  if (chosen === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  const seconds = chosen === 'system' ? 0 : 31_536_000;
  // biome-ignore lint/suspicious/noDocumentCookie: not every browser has the Cookie Store API
  document.cookie = `tf_theme=${chosen}; Path=/; Max-Age=${seconds}; SameSite=Lax`;
}

export function nextTheme(): void {
  setTheme(themes[(themes.indexOf(theme.peek()) + 1) % themes.length] ?? 'system');
}
