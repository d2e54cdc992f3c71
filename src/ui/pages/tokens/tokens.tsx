import { useEffect } from 'preact/hooks';
import { confirmed } from '../../kit/dialog.js';
import { notify } from '../../kit/notices.js';
import { When } from '../../kit/states.js';
import { actionsColumn, type Column, DataTable } from '../../kit/table.js';
import { Time } from '../../kit/time.js';
import { loaded } from '../../live/loaded.js';
import { bootstrap } from '../../state/bootstrap.js';
import { type ApiToken, loginCalls } from '../../state/login-calls.js';
import { page } from '../../state/view.js';
import { createToken, rotateToken } from './dialogs.js';

const tokens = loaded(
  () => loginCalls.tokens(),
  () => page.peek() === 'tokens',
);

/** The owner of the tokens that this user creates. */
const self = `${bootstrap.strategy}:${bootstrap.user}`;

function revoke({ id, name, owner }: ApiToken): Promise<void> {
  return confirmed({
    title: `Revoke ${name}?`,
    body: () => (
      <p>
        The token <em>{name}</em> of {owner} ends at once. Requests with this token get 401. This
        cannot be undone.
      </p>
    ),
    button: () => 'Revoke token',
    danger: true,
    async act() {
      await loginCalls.revokeToken(id);
      notify(`${name} is revoked.`);
      await tokens.load();
    },
  });
}

const columns: readonly Column<ApiToken>[] = [
  {
    header: 'Name',
    isRowHeader: true,
    cell: ({ name, replacedBy }) => (
      <>
        {name} {replacedBy !== null && <span class="pill">replaced</span>}
      </>
    ),
  },
  {
    header: 'Owner',
    cell: ({ owner, ownerChecked }) => (
      <>
        {owner} {!ownerChecked && <span class="pill">owner not checked</span>}
      </>
    ),
  },
  { header: 'Roles', cell: ({ roles }) => (roles.length === 0 ? 'read only' : roles.join(', ')) },
  { header: 'Created', cell: ({ createdAt }) => <Time at={createdAt} /> },
  { header: 'Expires', cell: ({ expiresAt }) => <Time at={expiresAt} form="relative" /> },
  {
    header: 'Last used',
    cell: ({ lastUsedAt, lastUsedIp }) => (
      <>
        {lastUsedAt === null ? 'never' : <Time at={lastUsedAt} form="relative" />}
        {lastUsedIp !== null && <span class="under faint">{lastUsedIp}</span>}
      </>
    ),
  },
  actionsColumn((token) => (
    <>
      {token.owner === self && token.replacedBy === null && (
        <button type="button" onClick={() => void rotateToken(token).then(tokens.load)}>
          Rotate…
        </button>
      )}
      <button type="button" onClick={() => void revoke(token)}>
        Revoke…
      </button>
    </>
  )),
];

/** The page with the API tokens of the user, or of all users for an administrator. */
export function TokensPage() {
  useEffect(() => void tokens.load(), []);
  return (
    <>
      <div>
        <button type="button" class="primary" onClick={() => void createToken().then(tokens.load)}>
          Create token…
        </button>
      </div>
      <When source={tokens} what="The API tokens">
        {({ items }) =>
          items.length === 0 ? (
            <p class="empty">No API tokens yet.</p>
          ) : (
            <DataTable caption="API tokens" columns={columns} rows={items} keyOf={({ id }) => id} />
          )
        }
      </When>
    </>
  );
}
