import { signal } from '@preact/signals';
import { ProblemError } from '../../client/client.js';
import { serverNow } from '../kit/clock.js';
import { observeErrors } from '../kit/notices.js';
import { client } from '../state/bootstrap.js';
import { reloadAll } from './connection.js';

/** An outage of the tasks, or of the sessions, as the server reports it. */
interface Outage {
  /** When it was noticed, in milliseconds of the server's clock. */
  since: number;
  /** What is unreachable, in the words of the server. */
  why: string;
}

/** The present outage, if there is one. */
export const outage = signal<Outage | undefined>(undefined);

/** Milliseconds between two checks whether the outage is over. */
const interval = 3000;

const codes = ['ENGINE_UNAVAILABLE', 'STORE_UNAVAILABLE'];

/**
 * Shows an outage when an error reports one. The page then polls until it is over, and reloads what
 * it shows.
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
