/** A cursor as a list gave it, with another position in it: only the engine can tell that it is none. */
export function movedTo(cursor: string | null, position: string): string {
  const [list = ''] = Buffer.from(cursor ?? '', 'base64url')
    .toString()
    .split('.');
  return Buffer.from(`${list}.${position}`).toString('base64url');
}
