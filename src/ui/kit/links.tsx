import type { ComponentChildren } from 'preact';

/** Properties of every link of the dashboard. */
export interface LinkProps {
  class?: string | undefined;
  title?: string | undefined;
  children: ComponentChildren;
}

const isPlain = (event: MouseEvent): boolean =>
  event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;

interface Followed extends LinkProps {
  href: string;
  current?: boolean | undefined;
  follow: () => void;
}

/**
 * A link that opens without loading a new document. The browser handles clicks with a modifier key.
 */
export function Link({ href, follow, current, children, ...rest }: Followed) {
  const onClick = (event: MouseEvent): void => {
    if (!isPlain(event)) return;
    event.preventDefault();
    follow();
  };
  return (
    <a {...rest} href={href} aria-current={current ? 'page' : undefined} onClick={onClick}>
      {children}
    </a>
  );
}
