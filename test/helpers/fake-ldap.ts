import type { AddressInfo } from 'node:net';
import { createServer, type Socket } from 'node:net';
import { Ber, BerReader, BerWriter } from 'ldapts';

/** A request that the fake server got. */
export interface LdapRequest {
  /** The tag of the operation: bind 0x60, search 0x63, extended 0x77, unbind 0x42. */
  tag: number;
  /** The DN of a bind, the base of a search, or the name of an extended operation. */
  name: string;
  /** The filter and the attributes of a search, as the bytes of the message in Latin-1. */
  text: string;
}

/** What the fake server answers: a result code with a message, and entries before it. */
export interface LdapAnswer {
  code?: number;
  message?: string;
  entries?: { dn: string; [attribute: string]: string | string[] }[];
  /** The value of an extended operation. */
  value?: string;
}

/** A directory server that answers what a test says. `undefined` is success without entries. */
export async function fakeLdap(answer: (request: LdapRequest) => LdapAnswer | undefined) {
  const requests: LdapRequest[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    socket.on('data', (data) => {
      const [id, request] = readRequest(data);
      requests.push(request);
      if (request.tag !== 0x42) socket.write(answerBytes(id, request.tag, answer(request) ?? {}));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `ldap://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

function readRequest(data: Buffer): [id: number, request: LdapRequest] {
  const reader = new BerReader(data);
  reader.readSequence();
  const id = reader.readInt() ?? 0;
  const tag = reader.readSequence() ?? 0;
  if (tag === 0x60) reader.readInt();
  const name = tag === 0x42 ? null : reader.readString(tag === 0x77 ? 0x80 : Ber.OctetString);
  return [id, { tag, name: name ?? '', text: data.toString('latin1') }];
}

function answerBytes(id: number, tag: number, answer: LdapAnswer): Buffer {
  const entries = (answer.entries ?? []).map(({ dn, ...attributes }) =>
    message(id, 0x64, (writer) => {
      writer.writeString(dn);
      writer.startSequence();
      for (const [type, values] of Object.entries(attributes)) {
        writer.startSequence();
        writer.writeString(type);
        writer.startSequence(0x31);
        for (const value of [values].flat()) writer.writeString(value);
        writer.endSequence();
        writer.endSequence();
      }
      writer.endSequence();
    }),
  );
  const result = message(id, tag === 0x63 ? 0x65 : tag + 1, (writer) => {
    writer.writeEnumeration(answer.code ?? 0);
    writer.writeString('');
    writer.writeString(answer.message ?? '');
    if (answer.value !== undefined) writer.writeString(answer.value, 0x8b);
  });
  return Buffer.concat([...entries, result]);
}

function message(id: number, tag: number, write: (writer: BerWriter) => void): Buffer {
  const writer = new BerWriter();
  writer.startSequence();
  writer.writeInt(id);
  writer.startSequence(tag);
  write(writer);
  writer.endSequence();
  writer.endSequence();
  return writer.buffer;
}
