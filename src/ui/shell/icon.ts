import { effect } from '@preact/signals';
import { stats } from '../live/connection.js';

/** Adds a dot to the icon of a hidden page when tasks fail. */
export function watchIcon(): void {
  const link = document.querySelector<HTMLLinkElement>('link[rel=icon]');
  const { alert } = link?.dataset ?? {};
  if (!link || !alert) return;
  const calm = link.href;
  let seen: number | undefined;
  const draw = (): void => {
    const failed = stats.peek()?.counts.failed;
    if (!document.hidden || seen === undefined) seen = failed;
    const href = failed !== undefined && seen !== undefined && failed > seen ? alert : calm;
    if (link.getAttribute('href') !== href) link.href = href;
  };
  effect(() => {
    void stats.value;
    draw();
  });
  document.addEventListener('visibilitychange', draw);
}
