import { options } from 'preact';

/** The longest time in milliseconds that a press delays renders. */
const maxHold = 5000;

/**
 * Delays renders while the user presses a button or a link. A browser clicks, or opens a link in a
 * new tab, only if the press and the release hit the same element. A banner that appeared in
 * between would move the element away, and the click would be lost.
 */
export function holdRendersDuringPress(): void {
  let isPressed = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let held: (() => void) | undefined;
  const release = (): void => {
    isPressed = false;
    held?.();
    held = undefined;
  };
  const releaseIn = (ms: number): void => {
    clearTimeout(timer);
    timer = setTimeout(release, ms);
  };
  options.debounceRendering = (render) => {
    if (isPressed) held = render;
    else queueMicrotask(render);
  };
  addEventListener('pointerdown', ({ target, button }) => {
    // The secondary button opens a menu, and its release may never be reported. A link in a chart
    // is an SVG element: the chart renders while the user selects a range.
    isPressed =
      button !== 2 &&
      target instanceof Element &&
      target.closest('button, a') instanceof HTMLElement;
    releaseIn(maxHold);
  });
  // The browser sends the click between the release and the next timer.
  for (const end of ['pointerup', 'pointercancel']) addEventListener(end, () => releaseIn(0));
}
