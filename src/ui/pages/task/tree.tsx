import { useState } from 'preact/hooks';
import { copy } from '../../kit/copy.js';
import { bytes, plural } from '../../kit/formats.js';

/** Maximum number of characters of a text, and of members of a list, that are shown at first. */
const maxText = 20_000;
const maxMembers = 100;
/** Number of levels that are open at first. */
const openDepth = 2;

/** A value as a tree of JSON. Long texts and lists are cut until the user expands them. */
export function Tree({ value }: { value: unknown }) {
  return (
    <>
      <div class="json" tabIndex={0}>
        <Node value={value} depth={0} />
      </div>
      <div class="actions">
        <button
          type="button"
          class="quiet"
          onClick={() => copy(JSON.stringify(value, null, 2) ?? 'undefined', 'JSON')}
        >
          Copy
        </button>
      </div>
    </>
  );
}

function Node({
  value,
  depth,
  name,
}: {
  value: unknown;
  depth: number;
  name?: string | undefined;
}) {
  const members = membersOf(value);
  if (members && members.length > 0)
    return <Branch value={value as object} members={members} depth={depth} name={name} />;
  return (
    <div>
      {name !== undefined && <Name name={name} />}
      <Leaf text={JSON.stringify(value) ?? 'undefined'} />
    </div>
  );
}

function membersOf(value: unknown): [name: string, value: unknown][] | undefined {
  return typeof value === 'object' && value !== null ? Object.entries(value) : undefined;
}

function Name({ name }: { name: string }) {
  return <span class="faint">{name}: </span>;
}

function Branch({
  value,
  members,
  depth,
  name,
}: {
  value: object;
  members: readonly [string, unknown][];
  depth: number;
  name: string | undefined;
}) {
  const [open, setOpen] = useState(depth < openDepth);
  const [all, setAll] = useState(false);
  const isList = Array.isArray(value);
  const shown = all ? members : members.slice(0, maxMembers);
  return (
    <details open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        {name !== undefined && <Name name={name} />}
        {isList ? `[${plural(members.length, 'item')}]` : `{${plural(members.length, 'key')}}`}
      </summary>
      {/* Closed parts are not rendered, so even a megabyte in them costs nothing. */}
      {open &&
        shown.map(([key, member]) => (
          <Node
            key={key}
            name={isList ? undefined : JSON.stringify(key)}
            value={member}
            depth={depth + 1}
          />
        ))}
      {open && shown.length < members.length && (
        <button type="button" class="quiet" onClick={() => setAll(true)}>
          Show all {plural(members.length, 'item')}
        </button>
      )}
    </details>
  );
}

function Leaf({ text }: { text: string }) {
  const [all, setAll] = useState(false);
  if (all || text.length <= maxText) return <>{text}</>;
  return (
    <>
      {text.slice(0, maxText)}…{' '}
      <button type="button" class="quiet" onClick={() => setAll(true)}>
        Show all {bytes(text.length)}
      </button>
    </>
  );
}
