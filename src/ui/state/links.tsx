import { Link, type LinkProps } from '../kit/links.js';
import { readView, type View } from './address.js';
import { goTo, linkTo, linkToPage, show } from './view.js';

/** A link to a page of the dashboard with only these filters. */
export function PageLink({ to, ...rest }: LinkProps & { to: Partial<View>; current?: boolean }) {
  return <Link {...rest} href={linkToPage(to)} follow={() => goTo(to)} />;
}

/** A link that changes part of the view, such as the open task. */
export function ChangeLink({ change, ...rest }: LinkProps & { change: Partial<View> }) {
  return <Link {...rest} href={linkTo(change)} follow={() => show(change)} />;
}

/** A link to a complete address of the dashboard. */
export function AddressLink({ href, ...rest }: LinkProps & { href: string }) {
  return (
    <Link
      {...rest}
      href={href}
      follow={() => show(readView(new URL(href, location.href).search).view)}
    />
  );
}

/** The name of a function, as a link to its tasks. */
export function FunctionLink({ name, ...more }: { name: string } & Partial<View>) {
  return (
    <PageLink to={{ view: 'tasks', name, ...more }} class="function">
      {name}
    </PageLink>
  );
}
