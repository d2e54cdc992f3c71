import { signal } from '@preact/signals';
import { ProblemError } from '../../client/client.js';
import { serverNow } from '../kit/clock.js';
import { observeErrors } from '../kit/notices.js';
import { client } from '../state/bootstrap.js';
import { reloadAll } from './connection.js';

/** An outage of the task engine or the session store, as the server reports it. */
interface Outage {
  /** When the page noticed the outage, in milliseconds of the server's clock. */
  since: number;
  /** The server's description of what is unreachable. */
  why: string;
}

/** The present outage, or `undefined`. */
export const outage = signal<Outage | undefined>(undefined);

/** Milliseconds between two checks of whether the outage is over. */
const interval = 3000;

const codes = ['ENGINE_UNAVAILABLE', 'STORE_UNAVAILABLE'];

/**
 * Shows an outage when an error reports one. The page then polls until the outage is over, and
 * reloads its data.
 */
export function watchOutages(): void {
  observeErrors(noteOutage);
}

function noteOutage(error: unknown): void {
  if (
    !(error instanceof ProblemError) ||
    !codes.includes(error.code) ||
    outage.peek() !== undefined
  )
    return;
  outage.value = { since: serverNow(), why: error.message };
  const timer = setInterval(() => void ask(), interval);
  const ask = async (): Promise<void> => {
    const { ok } = await fetch(client.url('/health'), { cache: 'no-store' }).catch(() => ({
      ok: false,
    }));
    if (!ok || outage.peek() === undefined) return;
    clearInterval(timer);
    outage.value = undefined;
    reloadAll();
  };
}
