import type { Change } from '../../client/client.js';
import { ProblemError } from '../../client/client.js';
import { base, client, facts } from '../state/bootstrap.js';

/**
 * One stream for all tabs of a browser: over HTTP/1.1 a host has six connections, and the seventh tab would hang. A lock
 * chooses the tab that reads; the others are told by it. When that tab closes, the lock moves on, and whoever has it next goes
 * on from the last change that was told. Where there are no locks (a page over plain HTTP) each tab reads for itself.
 */

/** What tabs say to each other. */
type Message =
  | { kind: 'change'; change: Change }
  | { kind: 'failed'; status: number; text: string }
  /** The tasks whose log a tab shows. */
  | { kind: 'follows'; tab: string; tasks: readonly string[] }
  | { kind: 'left'; tab: string }
  /** A tab has come: who reads says how it stands. */
  | { kind: 'joins' }
  | { kind: 'beats'; change: Change | undefined; lastEventId: string | undefined }
  | { kind: 'signed-in' };

/** What a page does with the stream. */
export interface StreamListener {
  take(change: Change): void;
  /** The server refuses, and trying again would not help. */
  failed(status: number, text: string): void;
  /** Somebody has signed in, here or in another tab. */
  signedIn(): void;
}

/** Milliseconds between two signs of the tab that reads, and without one until another takes over. */
const beat = 15_000;
const patience = 50_000;
/** Tasks that one stream follows, at most. */
const mostFollowed = 20;

const name = `taskflow ${base} ${JSON.stringify([facts.user, facts.strategy])}`;
const tab = Math.random().toString(36).slice(2);

export class SharedStream {
  readonly #listener: StreamListener;
  #channel: BroadcastChannel | undefined;
  readonly #followed = new Map<string, readonly string[]>();
  #lastEventId = facts.lastEventId ?? undefined;
  #lastBeat = Date.now();
  /** Whether this tab knows what was told before it listened. */
  #caughtUp = false;
  #reading = false;
  #state: { change: Change; at: number } | undefined;
  #controller = new AbortController();
  #goOn = (): void => {};
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
    setInterval(() => this.#watch(), beat);
    void this.#wait(false);
  }

  /** The log lines of these tasks are wanted. */
  follow(tasks: readonly string[]): void {
    this.#say({ kind: 'follows', tab, tasks });
    this.#note(tab, tasks);
  }

  /** Tries again at once, if it waits for the next try. */
  hurry(): void {
    this.#goOn();
  }

  /** Somebody has signed in here: this tab and the others go on. */
  resume(): void {
    this.#say({ kind: 'signed-in' });
    this.#listener.signedIn();
    this.#signedIn();
  }

  #say(message: Message): void {
    this.#channel?.postMessage(message);
  }

  #hear(message: Message): void {
    if (message.kind === 'follows') this.#note(message.tab, message.tasks);
    else if (message.kind === 'left') this.#note(message.tab, []);
    else if (message.kind === 'joins') this.#greet();
    else if (message.kind === 'signed-in') {
      this.#listener.signedIn();
      this.#signedIn();
    } else {
      this.#lastBeat = Date.now();
      if (message.kind === 'change') this.#take(message.change);
      else if (message.kind === 'failed') this.#listener.failed(message.status, message.text);
      else if (!this.#reading) this.#hearBeat(message);
    }
  }

  /** Whoever heard everything is at the same change; a tab that has just come may have been made before the last ones. */
  #hearBeat({ change, lastEventId }: Extract<Message, { kind: 'beats' }>): void {
    const heardAll = lastEventId === this.#lastEventId;
    this.#lastEventId = lastEventId;
    this.#caughtUp = true;
    if (change) this.#listener.take(change.type === 'hello' ? { ...change, resumed: heardAll } : change);
  }

  /** Tells a tab that has just come how things stand, and asks by it what it follows. */
  #greet(): void {
    if (this.#reading) this.#beat();
    else this.#sayFollowed();
  }

  #sayFollowed(): void {
    this.#say({ kind: 'follows', tab, tasks: this.#followed.get(tab) ?? [] });
  }

  /** Says how the stream is, as of now: what was told when it was opened is old. */
  #beat(): void {
    const { change, at } = this.#state ?? {};
    const past = Date.now() - (at ?? 0);
    const say = (now: Change | undefined): void => this.#say({ kind: 'beats', change: now, lastEventId: this.#lastEventId });
    if (change?.type === 'hello') say({ ...change, serverTime: new Date(Date.parse(change.serverTime) + past).toISOString() });
    else if (change?.type === 'lost') say({ ...change, cause: undefined, retryIn: Math.max(0, change.retryIn - past / 1000) });
    else say(undefined);
  }

  #note(of: string, tasks: readonly string[]): void {
    const before = this.#wanted();
    if (tasks.length === 0) this.#followed.delete(of);
    else this.#followed.set(of, tasks);
    // The stream is opened anew, and goes on where it was.
    if (this.#reading && before.join() !== this.#wanted().join()) this.#controller.abort();
  }

  #wanted(): string[] {
    return [...new Set([...this.#followed.values()].flat())].slice(-mostFollowed).sort();
  }

  #watch(): void {
    if (this.#reading) this.#beat();
    else if (!document.hidden && Date.now() - this.#lastBeat > patience) void this.#wait(true);
  }

  /** Waits for its turn to read, or takes it from a tab that sleeps. */
  async #wait(steal: boolean): Promise<void> {
    this.#lastBeat = Date.now();
    const robbed = new AbortController();
    try {
      await navigator.locks.request(name, { steal }, () => {
        // Those that were there before say what they follow.
        this.#say({ kind: 'joins' });
        return this.#read(robbed.signal);
      });
    } catch {
      robbed.abort();
      this.#controller.abort();
      void this.#wait(false);
    }
  }

  async #read(robbed: AbortSignal): Promise<void> {
    this.#reading = true;
    while (!robbed.aborted) {
      this.#controller = new AbortController();
      const { signal } = this.#controller;
      const wait = (seconds: number): Promise<void> => this.#pause(seconds, signal);
      try {
        for await (const change of client.changes({ follow: this.#wanted(), lastEventId: this.#lastEventId, signal, wait })) {
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
    // What is heard before it has caught up does not stand for what came before.
    if (this.#reading || this.#caughtUp) this.#lastEventId = change.id ?? this.#lastEventId;
    if (change.type === 'hello' || change.type === 'lost') this.#state = { change, at: Date.now() };
    this.#listener.take(change);
  }

  async #fail(error: unknown): Promise<void> {
    const { status, message } = error instanceof ProblemError ? error : new ProblemError(0, 'NETWORK', String(error));
    this.#say({ kind: 'failed', status, text: message });
    this.#listener.failed(status, message);
    const again = new Promise<void>((resolve) => {
      this.#signedIn = resolve;
    });
    await (status === 401 ? again : this.#pause(30, this.#controller.signal));
  }

  #pause(seconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const goOn = (): void => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(goOn, seconds * 1000);
      signal.addEventListener('abort', goOn, { once: true });
      this.#goOn = goOn;
    });
  }
}
