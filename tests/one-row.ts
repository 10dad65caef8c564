/** A decoder with a single row, for tests that look at logits. */
import type { Decoder, RowStart } from "../src/generation/decoder.ts";

/** Begins anew. @returns what reads the next tokens and gives the logits after the last, [V] */
export function oneRow(decoder: Decoder, start: RowStart = {}): (ids: readonly number[]) => Promise<Float32Array> {
  const prepared = decoder.prepare([start]);
  return async (ids) => {
    await prepared;
    return (await decoder.step([ids]))[0]!;
  };
}
