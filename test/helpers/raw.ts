import { connect } from 'node:net';
import { searchForCanaries } from './canaries.js';

export interface RawAnswer {
  /** 0 if the server closed the connection without an answer. */
  status: number;
  /** The names are in lower case. */
  headers: ReadonlyMap<string, string>;
  body: string;
  text: string;
}

/** Sends raw bytes, which no HTTP client would send, and resolves to the first answer. */
export function sendRaw(
  url: string,
  request: string | Buffer | readonly (string | Buffer)[],
): Promise<RawAnswer> {
  const { port } = new URL(url);
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const socket = connect(Number(port), '127.0.0.1', () => {
      for (const part of [request].flat()) socket.write(part as string | Buffer);
    });
    socket.setTimeout(15_000, () => socket.destroy());
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', () => {});
    socket.on('close', () => resolve(parse(Buffer.concat(chunks).toString())));
  });
}

/** Returns a request line and headers, with `Connection: close`. */
export function requestText(
  method: string,
  target: string,
  headers: Record<string, string> = {},
  host = 'app.example',
): string {
  const lines = Object.entries({ Host: host, Connection: 'close', ...headers }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  return `${method} ${target} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`;
}

function parse(text: string): RawAnswer {
  searchForCanaries(text.replace(/^set-cookie:.*$/gim, ''), 'a raw answer');
  const [head = '', ...rest] = text.split('\r\n\r\n');
  const [line = '', ...fields] = head.split('\r\n');
  const headers = new Map(
    fields.map((field) => [
      field.slice(0, field.indexOf(':')).toLowerCase(),
      field.slice(field.indexOf(':') + 1).trim(),
    ]),
  );
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(line)?.[1] ?? 0),
    headers,
    body: rest.join('\r\n\r\n'),
    text,
  };
}
