/** How a method's virtual tokens enter a batch: as tokens in front of every document, or as keys and values in front of every row. */
import type { Batch } from "../data/batch.ts";
import { insertVirtualTokens } from "../data/virtual-tokens.ts";
import type { AttachedMethod } from "../methods/method.ts";
import type { Model } from "../models/model.ts";
import { everyDocument } from "../models/segments.ts";
import type { SequenceLayout } from "./batch-context.ts";

/** The batch as the model sees it, with the layout that attention needs. Targets keep their order. */
export function withVirtualTokens(batch: Batch, model: Model, { virtualTokens }: AttachedMethod): { batch: Batch; layout: SequenceLayout } {
  if (!virtualTokens) return { batch, layout: batch };
  const { count, as } = virtualTokens;
  if (as === "embeddings") {
    const longer = insertVirtualTokens(batch, { count, firstId: model.vocabSize, movesBeginning: model.labelHead?.pools === "first" });
    return { batch: longer, layout: longer };
  }
  const moved = { ...batch, positionIds: batch.positionIds.map((position) => position + count) };
  const size = batch.batchSize * count;
  const past = {
    ...{ tokens: count, isPrefix: true },
    documentIds: new Int32Array(size).fill(everyDocument),
    positionIds: Int32Array.from({ length: size }, (_, i) => i % count),
  };
  return { batch: moved, layout: { ...moved, past } };
}
