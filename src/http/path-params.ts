import type { Layer } from '@koa/router';
import { TaskflowError } from '../errors.js';

/**
 * Returns the decoded parameters of a path. The router returns a parameter that it cannot decode as
 * it is, so the route would handle another name than the client meant.
 *
 * @throws TaskflowError INVALID_INPUT if a parameter cannot be decoded.
 */
export function pathParams(layer: Layer, path: string): Record<string, string> {
  const captures = layer.captures(path);
  try {
    for (const capture of captures) decodeURIComponent(capture);
  } catch (cause) {
    throw new TaskflowError(
      'INVALID_INPUT',
      'The path is not valid percent-encoded UTF-8. Encode each name with encodeURIComponent, ' +
        'which turns % into %25.',
      { cause },
    );
  }
  return layer.params(path, captures);
}
