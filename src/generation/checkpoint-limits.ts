/** What a checkpoint says of how its texts begin and end, and how long they may be. */
import type { LoadedModel } from "../execution/loaded-model.ts";
import type { GenerationOptions } from "./generate.ts";
import type { SamplingOptions } from "./sampling/sample-token.ts";

export interface CheckpointLimits extends Pick<GenerationOptions, "maxLength" | "maxSourceLength" | "eosTokenIds"> {
  /** Tokens that texts are made to begin or end with. */
  readonly forced: Pick<SamplingOptions, "forcedBosTokenId" | "forcedEosTokenId">;
}

export function limitsOf({ checkpoint, tokenizer, model }: Pick<LoadedModel, "checkpoint" | "tokenizer" | "model">): CheckpointLimits {
  const said = (name: string): unknown => checkpoint.generationConfig[name] ?? checkpoint.config[name];
  const token = (name: string): number | undefined => (typeof said(name) === "number" ? (said(name) as number) : undefined);
  const ends = [said("eos_token_id"), tokenizer.eosTokenId].flat().filter((id): id is number => typeof id === "number");
  // Relative positions have no end.
  const longestSource = model.encoder?.relativeBias ? undefined : model.encoder?.maxPositionEmbeddings;
  return {
    ...(longestSource !== undefined && { maxSourceLength: longestSource }),
    maxLength: model.maxPositionEmbeddings,
    eosTokenIds: [...new Set(ends)],
    forced: { forcedBosTokenId: token("forced_bos_token_id"), forcedEosTokenId: token("forced_eos_token_id") },
  };
}
