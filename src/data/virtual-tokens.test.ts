/** Placeholders in front of every document of packed and padded rows. */
import { expect, it } from "vitest";
import { collate } from "./batches.ts";
import { insertVirtualTokens } from "./virtual-tokens.ts";

const document = (...ids: number[]) => ({ inputIds: Int32Array.from(ids), labels: Int32Array.from(ids) });

it("puts placeholders in front of every document and moves the targets", () => {
  const batch = collate([[document(1, 2, 3), document(4, 5)], [document(6, 7)]]);
  const longer = insertVirtualTokens(batch, { count: 2, firstId: 100 });
  expect(longer.tokens).toBe(16);
  expect([...longer.inputIds.subarray(0, 9)]).toEqual([100, 101, 1, 2, 3, 100, 101, 4, 5]);
  expect([...longer.positionIds.subarray(0, 9)]).toEqual([0, 1, 2, 3, 4, 0, 1, 2, 3]);
  expect([...longer.documentIds.subarray(0, 10)]).toEqual([0, 0, 0, 0, 0, 1, 1, 1, 1, -1]);
  expect([...longer.inputIds.subarray(16, 20)]).toEqual([100, 101, 6, 7]);
  expect([...longer.targetPositions]).toEqual([2, 3, 7, 18]);
  expect([...longer.targetLabels]).toEqual([...batch.targetLabels]);
  expect(longer.tokenCount).toBe(batch.tokenCount);
});
