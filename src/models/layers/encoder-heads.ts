/** The heads for labels that transformers gives encoders of BERT's kind. */
import type { Value } from "../../tensor/graph.ts";
import type { LabelHead, LabelHeadName, Model } from "../model.ts";
import type { SegmentBuilder } from "../segment-builder.ts";
import { embeddingHead, headLinear } from "./label-heads.ts";

export interface EncoderHeadsOptions {
  /** From rows of first tokens [N, C] to what a layer for the labels of a whole document reads. */
  pool(build: SegmentBuilder, rows: Value): Value;
  /** Modules of the pooler that are new for every task; the layer for the labels is one anyway. */
  readonly poolModules?: readonly string[];
  /** On the input of the layer for the labels while training, where transformers' class of the task has dropout there. */
  readonly dropout: Readonly<Partial<Record<LabelHeadName, number>>>;
  /** What the layer for the labels of a document is called; `classifier` where absent. */
  readonly documentModule?: string;
}

export function encoderLabelHeads({
  pool,
  poolModules = [],
  dropout,
  documentModule = "classifier",
}: EncoderHeadsOptions): NonNullable<Model["labelHeads"]> {
  const ofDocument = (task: LabelHeadName): LabelHead => ({
    ...{ pools: "first", modules: [...poolModules, documentModule] },
    build: (build, rows, outFeatures) =>
      headLinear(build, { name: documentModule, input: build.dropout(pool(build, rows), dropout[task] ?? 0), outFeatures }),
  });
  const ofTokens = (task: LabelHeadName, name: string): LabelHead => ({
    ...{ pools: "all", modules: [name] },
    build: (build, rows, outFeatures) => headLinear(build, { name, input: build.dropout(rows, dropout[task] ?? 0), outFeatures }),
  });
  return {
    "sequence-classification": ofDocument("sequence-classification"),
    "multiple-choice": ofDocument("multiple-choice"),
    "token-classification": ofTokens("token-classification", "classifier"),
    "question-answering": ofTokens("question-answering", "qa_outputs"),
    "sentence-embeddings": embeddingHead(),
  };
}
