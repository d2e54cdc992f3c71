import type { ComponentChildren } from 'preact';
import { readView, type View } from '../state/address.js';
import { goTo, linkTo, linkToPage, show } from '../state/view.js';

interface LinkProps {
  class?: string | undefined;
  title?: string | undefined;
  children: ComponentChildren;
}

const isPlain = (event: MouseEvent): boolean => event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;

/** A link to a page of the dashboard with nothing but these conditions. */
export function PageLink({ to, current, children, ...rest }: LinkProps & { to: Partial<View>; current?: boolean }) {
  const follow = (event: MouseEvent): void => {
    if (!isPlain(event)) return;
    event.preventDefault();
    goTo(to);
  };
  return (
    <a {...rest} href={linkToPage(to)} aria-current={current ? 'page' : undefined} onClick={follow}>
      {children}
    </a>
  );
}

/** A link to what is shown with a change, such as another open task. */
export function ChangeLink({ change, children, ...rest }: LinkProps & { change: Partial<View> }) {
  const follow = (event: MouseEvent): void => {
    if (!isPlain(event)) return;
    event.preventDefault();
    show(change);
  };
  return (
    <a {...rest} href={linkTo(change)} onClick={follow}>
      {children}
    </a>
  );
}

/** A link to an address of the dashboard that was made before. */
export function AddressLink({ href, children }: LinkProps & { href: string }) {
  const follow = (event: MouseEvent): void => {
    if (!isPlain(event)) return;
    event.preventDefault();
    show(readView(new URL(href, location.href).search).view);
  };
  return (
    <a href={href} onClick={follow}>
      {children}
    </a>
  );
}

/** A function's name, which leads to its tasks wherever it stands. */
export function FunctionLink({ name, ...more }: { name: string } & Partial<View>) {
  return (
    <PageLink to={{ view: 'tasks', name, ...more }} class="function">
      {name}
    </PageLink>
  );
}
