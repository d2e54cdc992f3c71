import { effect } from '@preact/signals';
import { pulse } from '../live/connection.js';

/** Puts a dot on the page's icon when tasks have failed that nobody has looked at, since the page is hidden. */
export function watchIcon(): void {
  const link = document.querySelector<HTMLLinkElement>('link[rel=icon]');
  const { alert } = link?.dataset ?? {};
  if (!link || !alert) return;
  const calm = link.href;
  let seen: number | undefined;
  const draw = (): void => {
    const failed = pulse.peek()?.counts.failed;
    if (!document.hidden || seen === undefined) seen = failed;
    const href = failed !== undefined && seen !== undefined && failed > seen ? alert : calm;
    if (link.getAttribute('href') !== href) link.href = href;
  };
  effect(() => {
    void pulse.value;
    draw();
  });
  document.addEventListener('visibilitychange', draw);
}
