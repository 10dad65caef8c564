/**
 * The heads for labels that transformers gives encoder-decoders. Encoder and decoder both read the document, the decoder shifted
 * right by one, and the head reads the decoder; a label for the whole is read at the row of the document's last token.
 */
import type { Value } from "../../tensor/graph.ts";
import { tanh } from "../../tensor/ops/index.ts";
import type { LabelHead, ShiftedDocument } from "../model.ts";
import type { SegmentBuilder } from "../segment-builder.ts";
import { answerHead, headLinear } from "./label-heads.ts";

export interface DocumentHeadOptions extends Pick<LabelHead, "rows" | "body"> {
  readonly shifted: ShiftedDocument;
  /** On the inputs of both layers while training. */
  readonly dropout: number;
}

/** Two layers with tanh between, as wide as the model. */
export const documentHead = ({ shifted, dropout, ...options }: DocumentHeadOptions): LabelHead => ({
  ...{ pools: "last", modules: ["classification_head"], shifted, ...options },
  build(build, input, numLabels) {
    const dense = (build: SegmentBuilder, part: string, { x, outFeatures }: { x: Value; outFeatures: number }): Value =>
      headLinear(build, { name: `classification_head.${part}`, input: build.dropout(x, dropout), outFeatures });
    const inner = tanh(dense(build, "dense", { x: input, outFeatures: Number(input.shape.at(-1)) }));
    return dense(build, "out_proj", { x: inner, outFeatures: numLabels });
  },
});

export const shiftedAnswerHead = ({ shifted, rows }: Pick<DocumentHeadOptions, "shifted" | "rows">): LabelHead => ({
  ...answerHead(rows),
  shifted,
});
