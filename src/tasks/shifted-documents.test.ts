import { describe, expect, it } from "vitest";
import type { LabelHead } from "../models/model.ts";
import { asHeadReads } from "./shifted-documents.ts";

const headOf = (pools: LabelHead["pools"], shifted?: LabelHead["shifted"]): LabelHead => ({
  ...{ pools, modules: ["classifier"], build: (_, rows) => rows },
  ...(shifted && { shifted }),
});
const documentOf = (...ids: number[]) => ({ inputIds: Int32Array.from(ids), labels: new Int32Array(0), target: [1] });

describe("a document as a head reads it", () => {
  it("is whole for the encoder and shifted right for the decoder", () => {
    const read = asHeadReads(documentOf(7, 8, 9, 1), headOf("last", { start: 0, end: 1 }));
    expect([...read.encoderInputIds!]).toEqual([7, 8, 9, 1]);
    expect([...read.inputIds]).toEqual([0, 7, 8, 9]);
    expect(read.target).toEqual([1]);
  });

  it("is as it was where one stack reads it", () => {
    const document = documentOf(7, 8, 1);
    expect(asHeadReads(document, headOf("last"))).toBe(document);
  });

  it("must end where its label is read", () => {
    const shifted = { start: 0, end: 1 };
    expect(() => asHeadReads(documentOf(7, 8, 9), headOf("last", shifted))).toThrow(
      /ends a document with token 9; .* eos_token_id, which is 1 in config\.json/,
    );
    expect([...asHeadReads(documentOf(7, 8, 9), headOf("all", shifted)).inputIds]).toEqual([0, 7, 8]);
  });
});
