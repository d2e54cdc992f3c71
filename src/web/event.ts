/** What a stream sends. The data is sent as JSON. */
export interface StreamEvent {
  event: string;
  data: unknown;
  /** What a client that reconnects sends back as `Last-Event-ID`. */
  id?: string | number | undefined;
}

const texts = new WeakMap<StreamEvent, string>();

/** An event as it goes over the wire. One object is serialised once, however many clients it is sent to. */
export function eventText(event: StreamEvent): string {
  let text = texts.get(event);
  if (text === undefined) {
    const id = event.id === undefined ? '' : `id: ${oneLine(String(event.id))}\n`;
    text = `${id}event: ${oneLine(event.event)}\ndata: ${JSON.stringify(event.data) ?? 'null'}\n\n`;
    texts.set(event, text);
  }
  return text;
}

/** A line break would end the field and begin another. */
function oneLine(text: string): string {
  return text.replace(/[\r\n\0]/g, ' ');
}
