/** An event of a stream. The data is sent as JSON. */
export interface StreamEvent {
  event: string;
  data: unknown;
  /** The client sends it as `Last-Event-ID` when it reconnects. */
  id?: string | number | undefined;
}

const texts = new WeakMap<StreamEvent, string>();

/** Returns the text of an event. One object is serialised once, for any number of clients. */
export function eventText(event: StreamEvent): string {
  let text = texts.get(event);
  if (text === undefined) {
    const id = event.id === undefined ? '' : `id: ${oneLine(String(event.id))}\n`;
    text = `${id}event: ${oneLine(event.event)}\ndata: ${JSON.stringify(event.data) ?? 'null'}\n\n`;
    texts.set(event, text);
  }
  return text;
}

/** Removes line breaks, which would end the field and begin another. */
function oneLine(text: string): string {
  return text.replace(/[\r\n\0]/g, ' ');
}
