import { connect, type Socket } from 'node:net';

/** Milliseconds that an answer may take. */
const limit = 20_000;

/** An answer as bytes, one character each. */
export interface Got {
  /** 0 if the server closed the connection without an answer. */
  status: number;
  /** The status line and the headers. */
  head: string;
  body: string;
}

/**
 * Sends requests as bytes, one after the other, on one connection, and opens another one if the
 * server closes it. The client of Node would refuse many of these bytes, and takes longer.
 */
export class Connection {
  readonly #port: number;
  #socket: Socket | undefined;

  constructor(port: number) {
    this.#port = port;
  }

  send(text: string): Promise<Got> {
    const socket = this.#socket ?? connect(this.#port, '127.0.0.1');
    this.#socket = socket;
    return new Promise((resolve) => {
      let received = '';
      const done = (got: Got, isClosed: boolean): void => {
        socket.removeAllListeners();
        socket.on('error', () => {});
        if (isClosed || /^connection: close/im.test(got.head)) this.close();
        resolve(got);
      };
      const ended = (): void => done(answerOf(received) ?? { status: 0, head: '', body: '' }, true);
      socket.on('data', (chunk) => {
        received += chunk.toString('latin1');
        const got = answerOf(received);
        if (got && isComplete(got, text)) done(got, false);
      });
      socket.on('error', () => {});
      socket.on('close', ended);
      socket.setTimeout(limit, () => socket.destroy());
      socket.write(text, 'latin1');
    });
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }
}

function answerOf(text: string): Got | undefined {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  return { status: Number(text.slice(9, 12)), head: text.slice(0, end), body: text.slice(end + 4) };
}

function isComplete({ status, head, body }: Got, request: string): boolean {
  if (status === 204 || status === 304 || request.startsWith('HEAD ')) return true;
  const [, length] = /^content-length: (\d+)/im.exec(head) ?? [];
  if (length !== undefined) return body.length >= Number(length);
  return /^transfer-encoding: chunked/im.test(head) && body.endsWith('0\r\n\r\n');
}
