/** The heads for labels that transformers gives encoders of BERT's kind. */
import type { Value } from "../../tensor/graph.ts";
import type { Model } from "../model.ts";
import type { SegmentBuilder } from "../segment-builder.ts";
import { embeddingHead, headLinear } from "./label-heads.ts";

export interface EncoderHeadsOptions {
  /** From rows of first tokens [N, C] to what a layer for the labels of a whole document reads. */
  pool(build: SegmentBuilder, rows: Value): Value;
  /** Modules of the pooler that are new for every task; the layer for the labels is one anyway. */
  readonly poolModules?: readonly string[];
  /** What the layer for the labels of a document is called; `classifier` where absent. */
  readonly documentModule?: string;
}

export function encoderLabelHeads({
  pool,
  poolModules = [],
  documentModule = "classifier",
}: EncoderHeadsOptions): NonNullable<Model["labelHeads"]> {
  const ofDocument = (build: SegmentBuilder, rows: Value, numLabels: number): Value =>
    headLinear(build, { name: documentModule, input: pool(build, rows), outFeatures: numLabels });
  const ofTokens =
    (name: string) =>
    (build: SegmentBuilder, rows: Value, numLabels: number): Value =>
      headLinear(build, { name, input: rows, outFeatures: numLabels });
  return {
    "sequence-classification": { pools: "first", modules: [...poolModules, documentModule], build: ofDocument },
    "multiple-choice": { pools: "first", modules: [...poolModules, documentModule], build: ofDocument },
    "token-classification": { pools: "all", modules: ["classifier"], build: ofTokens("classifier") },
    "question-answering": { pools: "all", modules: ["qa_outputs"], build: ofTokens("qa_outputs") },
    "sentence-embeddings": embeddingHead(),
  };
}
