/**
 * Returns the cursor of a list with another position, which only the engine can recognise as
 * invalid.
 */
export function movedTo(cursor: string | null, position: string): string {
  const [list = ''] = Buffer.from(cursor ?? '', 'base64url')
    .toString()
    .split('.');
  return Buffer.from(`${list}.${position}`).toString('base64url');
}
