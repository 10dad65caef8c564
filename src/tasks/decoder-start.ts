/** The token that the decoder of an encoder-decoder begins with. */
import { CheckpointError } from "../base/errors.ts";

/** @param config config.json of the checkpoint. @throws CheckpointError if it does not say */
export function decoderStartOf({ decoder_start_token_id: start }: Readonly<Record<string, unknown>>): number {
  if (typeof start === "number") return start;
  throw new CheckpointError(
    'config.json lacks "decoder_start_token_id", which the decoder begins with. Copy it from the model card; for T5 it is the id of the pad token, 0.',
  );
}
