import { type Relay, relay } from './relay.js';

/** A connection to a port that a test can cut, as a tunnel does with a train. */
export interface Cutter extends Relay {
  /** Forwards requests and drops their answers, until the connection is cut. */
  loseAnswers(): void;
  /** Ends every connection and sends new ones to another port. */
  leadTo(port: number): void;
}

export async function cuttable(target: number): Promise<Cutter> {
  let isLosing = false;
  let to = target;
  const { port, cut, close } = await relay(
    () => to,
    (near, far) => {
      near.pipe(far);
      far.on('data', (chunk) => {
        if (!isLosing) near.write(chunk);
      });
    },
  );
  const cutAll = (): void => {
    cut();
    isLosing = false;
  };
  return {
    port,
    cut: cutAll,
    loseAnswers: () => {
      isLosing = true;
    },
    leadTo: (next) => {
      to = next;
      cutAll();
    },
    close,
  };
}
