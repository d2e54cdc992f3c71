import { readEvents, type ServerEvent } from '../../src/client/events.js';

export interface OpenStream {
  status: number;
  headers: Headers;
  events: ServerEvent[];
  /** The number of bytes received so far. */
  bytes(): number;
  /** Resolves when the server has ended the stream. */
  ended: Promise<void>;
  /** Returns the data of all events with a name. */
  of<T = Record<string, unknown>>(event: string): T[];
  close(): void;
}

/** Opens a stream and collects its events. */
export async function openStream(
  url: string,
  headers: Record<string, string> = {},
): Promise<OpenStream> {
  const controller = new AbortController();
  const response = await fetch(url, { headers, signal: controller.signal, redirect: 'manual' });
  const events: ServerEvent[] = [];
  let bytes = 0;
  const counted = response.body?.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, out) {
        bytes += chunk.length;
        out.enqueue(chunk);
      },
    }),
  );
  const ended = (async () => {
    if (counted)
      for await (const event of readEvents(counted as ReadableStream<Uint8Array>))
        events.push(event);
  })().catch(() => {});
  return {
    status: response.status,
    headers: response.headers,
    events,
    bytes: () => bytes,
    ended,
    of: (name) => events.filter(({ event }) => event === name).map(({ data }) => JSON.parse(data)),
    close: () => controller.abort(),
  };
}
