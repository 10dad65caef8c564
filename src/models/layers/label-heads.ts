/** What the label heads of many families are made of. */
import type { Value } from "../../tensor/graph.ts";
import { add, matmul } from "../../tensor/ops/index.ts";
import type { ConfigReader } from "../config-reader.ts";
import type { LabelHead, Model } from "../model.ts";
import type { SegmentBuilder } from "../segment-builder.ts";

export interface HeadLinearOptions {
  readonly name: string;
  /** [N, C]. */
  readonly input: Value;
  readonly outFeatures: number;
  readonly bias?: boolean;
}

/** y = x W^T + b without hooks: methods adapt the model under a head, not the head, which is trained whole. */
export function headLinear(build: SegmentBuilder, { name, input, outFeatures, bias = true }: HeadLinearOptions): Value {
  const inFeatures = Number(input.shape.at(-1));
  const weight = build.parameter({ name: `${name}.weight`, shape: [outFeatures, inFeatures], kind: "weight" });
  const product = matmul(input, weight, { transposeB: true });
  return bias ? add(product, build.parameter({ name: `${name}.bias`, shape: [outFeatures], kind: "bias" })) : product;
}

export interface DecoderHeadsOptions {
  /** The norm behind the last block. */
  finalNorm(build: SegmentBuilder, rows: Value): Value;
  /** What transformers calls the layer that labels tokens. */
  readonly tokenModule: "score" | "classifier";
  /** On the input of that layer while training. */
  readonly tokenDropout: number;
}

/** The heads that transformers gives decoders: a document is labelled at its last token, since only that one has seen all others. */
export const decoderLabelHeads = ({ finalNorm, tokenModule, tokenDropout }: DecoderHeadsOptions): NonNullable<Model["labelHeads"]> => ({
  "sequence-classification": {
    pools: "last",
    modules: ["score"],
    rows: finalNorm,
    build: (build, input, outFeatures) => headLinear(build, { name: "score", input, outFeatures, bias: false }),
  },
  "token-classification": {
    pools: "all",
    modules: [tokenModule],
    rows: finalNorm,
    build: (build, rows, outFeatures) => headLinear(build, { name: tokenModule, input: build.dropout(rows, tokenDropout), outFeatures }),
  },
  "sentence-embeddings": embeddingHead(finalNorm),
});

/** The dropout of decoders' heads for tokens, as transformers finds it. */
export const readTokenDropout = (config: ConfigReader): number =>
  config.dropout("classifier_dropout", config.dropout("hidden_dropout", 0.1));

/** The head that transformers gives some decoders for answers in a text: two numbers for each token. @param finalNorm the norm behind the last block, where the blocks do not end with it */
export const answerHead = (finalNorm?: LabelHead["rows"]): LabelHead => ({
  pools: "all",
  modules: ["qa_outputs"],
  ...(finalNorm && { rows: finalNorm }),
  build: (build, input, outFeatures) => headLinear(build, { name: "qa_outputs", input, outFeatures }),
});

/** No layer of its own: the pooled rows are the embedding. @param finalNorm the norm behind the last block, where the blocks do not end with it */
export const embeddingHead = (finalNorm?: LabelHead["rows"]): LabelHead => ({
  pools: "mean",
  modules: [],
  ...(finalNorm && { rows: finalNorm }),
  build: (_, rows) => rows,
});
