/** One event of a `text/event-stream`. */
export interface ServerEvent {
  event: string;
  data: string;
  /** The id of this event, or of the last event that had one. */
  id: string | undefined;
}

/**
 * Reads a `text/event-stream`. EventSource cannot be used, because it hides the status of an answer
 * and cannot resume after a chosen event.
 */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
  const reader = body
    .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
    .getReader();
  let rest = '';
  let id: string | undefined;
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const event = readBlock(block, id);
        id = event.id;
        if (event.data !== '') yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function readBlock(block: string, lastId: string | undefined): ServerEvent {
  const event: ServerEvent = { event: 'message', data: '', id: lastId };
  for (const line of block.split('\n')) {
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'event') event.event = value;
    else if (name === 'id') event.id = value;
    else if (name === 'data') event.data += event.data === '' ? value : `\n${value}`;
  }
  return event;
}
