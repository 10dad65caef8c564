import { describe, expect, it } from "vitest";
import { createGrouping } from "./parameter-groups.ts";

const spec = (name: string) => ({ name, shape: [2, 2], kind: "weight" as const });
const t5 = [
  "shared.weight",
  "encoder.block.0.q",
  "encoder.block.1.q",
  "encoder.final_layer_norm.weight",
  "decoder.block.0.q",
  "lm_head.weight",
].map(spec);

describe("createGrouping", () => {
  it("counts blocks below the head in each stack of an encoder-decoder", () => {
    const settingsOf = createGrouping({ learningRate: 1, layerDecay: 0.5, groups: [] })({ all: t5, trained: t5 });
    expect(t5.map((parameter) => settingsOf(parameter).learningRateFactor)).toEqual([0.125, 0.25, 0.5, 1, 0.5, 1]);
  });

  it("tells every pattern that matches nothing, with the nearest name, and those that match frozen parameters only", () => {
    const group = { parameters: ["encoder.blok.1.q", "lm_head.weight", "zzz*"], weightDecay: 0 };
    const grouping = createGrouping({ learningRate: 1, groups: [group] });
    expect(() => grouping({ all: t5, trained: t5.slice(0, 3) })).toThrow(
      /optimizer\.groups\.0\.parameters: "encoder\.blok\.1\.q" matches no trained parameter\. The nearest is "encoder\.block\.1\.q".*"lm_head\.weight" matches only frozen.*"zzz\*" matches no trained parameter\. Trained here are for example: shared\.weight/s,
    );
  });

  it("gives a group its own rate and decay, on top of the layer's factor", () => {
    const groups = [
      { parameters: ["*.q"], learningRate: 3, weightDecay: 0.1 },
      { parameters: ["*"], weightDecay: 0 },
    ];
    const settingsOf = createGrouping({ learningRate: 1, layerDecay: 0.5, groups })({ all: t5, trained: t5 });
    expect(settingsOf(t5[2]!)).toEqual({ learningRateFactor: 1.5, weightDecay: 0.1 });
    expect(settingsOf(t5[0]!)).toEqual({ learningRateFactor: 0.125, weightDecay: 0 });
  });
});
