/** Every model family, by the checkpoint's `model_type`. */

import { CheckpointError } from "../../base/errors.ts";
import { lookUp } from "../../base/registry.ts";
import type { CheckpointContent, Model, ModelFamily } from "../model.ts";
import { bart } from "./bart.ts";
import { bert } from "./bert.ts";
import { distilbert } from "./distilbert.ts";
import { gemma2 } from "./gemma2.ts";
import { gemma3Text } from "./gemma3_text.ts";
import { gptNeox } from "./gpt_neox.ts";
import { gpt2 } from "./gpt2.ts";
import { granite } from "./granite.ts";
import { llama } from "./llama.ts";
import { mistral } from "./mistral.ts";
import { mixtral } from "./mixtral.ts";
import { modernbert } from "./modernbert.ts";
import { mt5 } from "./mt5.ts";
import { olmo2 } from "./olmo2.ts";
import { opt } from "./opt.ts";
import { phi3 } from "./phi3.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3 } from "./qwen3.ts";
import { qwen3Moe } from "./qwen3_moe.ts";
import { roberta } from "./roberta.ts";
import { smollm3 } from "./smollm3.ts";
import { t5 } from "./t5.ts";

export const families = [
  bart,
  bert,
  distilbert,
  gemma2,
  gemma3Text,
  gpt2,
  gptNeox,
  granite,
  llama,
  mistral,
  mixtral,
  modernbert,
  mt5,
  olmo2,
  opt,
  phi3,
  qwen2,
  qwen3,
  qwen3Moe,
  roberta,
  smollm3,
  t5,
] as const;

/** The model that a parsed config.json describes; `file` settles what it leaves open.
 * @throws CheckpointError if `model_type` is missing; UnsupportedError, listing the families, if it is unknown */
export function createModel(config: Readonly<Record<string, unknown>>, file?: CheckpointContent): Model {
  const modelType = config.model_type;
  if (typeof modelType !== "string")
    throw new CheckpointError('config.json lacks "model_type". Copy the config.json that belongs to these weights.');
  return lookUp<ModelFamily>("model_type", families, modelType).create(config, file);
}
