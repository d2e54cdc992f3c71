import type { Change } from '../../client/client.js';
import { ProblemError } from '../../client/client.js';
import { base, bootstrap, client, signedInUser } from '../state/bootstrap.js';

/**
 * Shares one stream between all tabs of a browser. Over HTTP/1.1, a browser opens only six
 * connections per host, so the seventh tab would hang. A Web Lock selects the tab that reads the
 * stream, and a BroadcastChannel passes each change to the other tabs. When the reading tab closes,
 * the next tab gets the lock and resumes after the last change that it received. The reading tab
 * sends heartbeats. If they stop because the browser has frozen that tab, another tab takes the
 * lock. Web Locks require HTTPS or localhost. Without them, each tab reads its own stream.
 */

/** Messages between tabs. */
type Message =
  | { kind: 'change'; change: Change }
  | { kind: 'failed'; status: number; text: string }
  /** The tasks whose log a tab shows. */
  | { kind: 'follows'; tab: string; tasks: readonly string[] }
  | { kind: 'left'; tab: string }
  /** A tab has opened: the reading tab answers with the state of the stream. */
  | { kind: 'joins' }
  | { kind: 'beats'; change: Change | undefined; lastEventId: string | undefined }
  | { kind: 'signed-in' };

/** Callbacks that the stream calls. */
export interface StreamListener {
  take(change: Change): void;
  /** Called if the server answers with an error that a retry does not fix. */
  failed(status: number, text: string): void;
  /** Called when the user has signed in, in this or another tab. */
  signedIn(): void;
}

/**
 * Milliseconds between two heartbeats of the reading tab, and milliseconds without a heartbeat
 * after which another tab takes over.
 */
const heartbeatInterval = 15_000;
const heartbeatTimeout = 50_000;
/** Maximum number of tasks whose logs a stream follows. */
const maxFollowed = 20;

const name = `taskflow ${base} ${JSON.stringify([bootstrap.user, bootstrap.strategy])}`;
const tab = Math.random().toString(36).slice(2);

export class SharedStream {
  readonly #listener: StreamListener;
  #channel: BroadcastChannel | undefined;
  readonly #followed = new Map<string, readonly string[]>();
  #lastEventId = bootstrap.lastEventId ?? undefined;
  #lastBeat = Date.now();
  /** Whether this tab has all changes from before it started to listen. */
  #caughtUp = false;
  #reading = false;
  #state: { change: Change; at: number } | undefined;
  #controller = new AbortController();
  #resume = (): void => {};
  #signedIn = (): void => {};

  constructor(listener: StreamListener) {
    this.#listener = listener;
  }

  start(): void {
    if (!navigator.locks) {
      void this.#read(new AbortController().signal);
      return;
    }
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }: MessageEvent<Message>) => this.#hear(data);
    this.#say({ kind: 'joins' });
    this.#sayFollowed();
    window.addEventListener('pagehide', () => this.#say({ kind: 'left', tab }));
    setInterval(() => this.#watch(), heartbeatInterval);
    void this.#wait(false);
  }

  /** Subscribes this tab to the logs of these tasks. */
  follow(tasks: readonly string[]): void {
    this.#say({ kind: 'follows', tab, tasks });
    this.#note(tab, tasks);
  }

  /** Retries at once if the stream waits for the next attempt. */
  retryNow(): void {
    this.#resume();
  }

  /** Resumes the stream in every tab after the user signed in. */
  resume(): void {
    this.#say({ kind: 'signed-in' });
    this.#onSignedIn();
  }

  #onSignedIn(): void {
    this.#listener.signedIn();
    this.#signedIn();
    // A stream of the earlier session is opened again.
    this.#controller.abort();
  }

  #say(message: Message): void {
    this.#channel?.postMessage(message);
  }

  #hear(message: Message): void {
    if (message.kind === 'follows') this.#note(message.tab, message.tasks);
    else if (message.kind === 'left') this.#note(message.tab, []);
    else if (message.kind === 'joins') this.#onJoin();
    else if (message.kind === 'signed-in') this.#onSignedIn();
    else {
      this.#lastBeat = Date.now();
      if (message.kind === 'change') this.#take(message.change);
      else if (message.kind === 'failed') this.#listener.failed(message.status, message.text);
      else if (!this.#reading) this.#hearBeat(message);
    }
  }

  /**
   * Compares the last changes of both tabs, because a page that was served earlier may have missed
   * some.
   */
  #hearBeat({ change, lastEventId }: Extract<Message, { kind: 'beats' }>): void {
    const heardAll = lastEventId === this.#lastEventId;
    this.#lastEventId = lastEventId;
    this.#caughtUp = true;
    if (change)
      this.#listener.take(change.type === 'hello' ? { ...change, resumed: heardAll } : change);
  }

  /**
   * Answers a tab that has opened. The reading tab sends the state of the stream. Other tabs send
   * the ids of the tasks whose logs they follow.
   */
  #onJoin(): void {
    if (this.#reading) this.#beat();
    else this.#sayFollowed();
  }

  #sayFollowed(): void {
    this.#say({ kind: 'follows', tab, tasks: this.#followed.get(tab) ?? [] });
  }

  /** Sends the state of the stream. Its times are converted to the present. */
  #beat(): void {
    const { change, at } = this.#state ?? {};
    const past = Date.now() - (at ?? 0);
    const say = (now: Change | undefined): void =>
      this.#say({ kind: 'beats', change: now, lastEventId: this.#lastEventId });
    if (change?.type === 'hello')
      say({ ...change, serverTime: new Date(Date.parse(change.serverTime) + past).toISOString() });
    else if (change?.type === 'lost')
      say({ ...change, cause: undefined, retryIn: Math.max(0, change.retryIn - past / 1000) });
    else say(undefined);
  }

  #note(of: string, tasks: readonly string[]): void {
    const before = this.#wanted();
    if (tasks.length === 0) this.#followed.delete(of);
    else this.#followed.set(of, tasks);
    // The stream reconnects with the new subscriptions and resumes after the last change.
    if (this.#reading && before.join() !== this.#wanted().join()) this.#controller.abort();
  }

  #wanted(): string[] {
    return [...new Set([...this.#followed.values()].flat())].slice(-maxFollowed).sort();
  }

  #watch(): void {
    if (this.#reading) this.#beat();
    else if (!document.hidden && Date.now() - this.#lastBeat > heartbeatTimeout)
      void this.#wait(true);
  }

  /** Waits for the lock of the reading tab. With `steal`, takes it from a frozen tab. */
  async #wait(steal: boolean): Promise<void> {
    this.#lastBeat = Date.now();
    const lockLost = new AbortController();
    try {
      await navigator.locks.request(name, { steal }, () => {
        // The other tabs answer with the tasks whose logs they follow.
        this.#say({ kind: 'joins' });
        return this.#read(lockLost.signal);
      });
    } catch {
      lockLost.abort();
      this.#controller.abort();
      void this.#wait(false);
    }
  }

  async #read(lockLost: AbortSignal): Promise<void> {
    this.#reading = true;
    while (!lockLost.aborted) {
      this.#controller = new AbortController();
      const { signal } = this.#controller;
      const wait = (seconds: number): Promise<void> => this.#pause(seconds, signal);
      try {
        for await (const change of client.changes({
          follow: this.#wanted(),
          lastEventId: this.#lastEventId,
          signal,
          wait,
        })) {
          this.#say({ kind: 'change', change });
          this.#take(change);
        }
      } catch (error) {
        await this.#fail(error);
      }
    }
    this.#reading = false;
  }

  #take(change: Change): void {
    // Before this tab has caught up, a change does not prove that the tab has all earlier changes.
    if (this.#reading || this.#caughtUp) this.#lastEventId = change.id ?? this.#lastEventId;
    if (change.type === 'hello' || change.type === 'lost') this.#state = { change, at: Date.now() };
    this.#listener.take(change);
  }

  async #fail(error: unknown): Promise<void> {
    const { status, message } =
      error instanceof ProblemError ? error : new ProblemError(0, 'NETWORK', String(error));
    // If the user has signed in again, the new session has replaced that of the stream.
    if (status === 401 && (await signedInUser()) === 'same')
      return this.#pause(1, this.#controller.signal);
    this.#say({ kind: 'failed', status, text: message });
    this.#listener.failed(status, message);
    const again = new Promise<void>((resolve) => {
      this.#signedIn = resolve;
    });
    await (status === 401 ? again : this.#pause(30, this.#controller.signal));
  }

  #pause(seconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const resume = (): void => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(resume, seconds * 1000);
      signal.addEventListener('abort', resume, { once: true });
      this.#resume = resume;
    });
  }
}
