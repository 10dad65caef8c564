import { describe, expect, it } from "vitest";
import { type Checkpoint, checkTensors, findTensor } from "./checkpoint.ts";

const checkpointOf = (names: readonly string[]): Checkpoint => ({
  ...{ name: "checkpoint", config: {}, generationConfig: {}, totalBytes: 0 },
  tensors: new Map(names.map((name, i) => [name, { dtype: "F32", shape: [2, 3], begin: i, end: i + 1, file: {} as never }])),
});

describe("a tensor is found", () => {
  it.each([
    ["under its own name", "bert.encoder.layer.0.output.dense.weight", "bert.encoder.layer.0.output.dense.weight"],
    ["in a bare BertModel", "bert.embeddings.word_embeddings.weight", "embeddings.word_embeddings.weight"],
    ["in a bare GPT2Model", "transformer.h.0.ln_1.weight", "h.0.ln_1.weight"],
    ["in a bare LlamaModel", "model.layers.0.self_attn.q_proj.weight", "layers.0.self_attn.q_proj.weight"],
    ["in a bare GPTNeoXModel", "gpt_neox.embed_in.weight", "embed_in.weight"],
    ["behind DataParallel", "lm_head.weight", "module.lm_head.weight"],
    ["in a compiled model", "model.norm.weight", "_orig_mod.model.norm.weight"],
    ["in a wrapper's attribute", "shared.weight", "transformer.shared.weight"],
    ["in a wrapper of a bare model", "bert.pooler.dense.bias", "model.pooler.dense.bias"],
    ["as TensorFlow wrote it", "bert.embeddings.LayerNorm.weight", "bert.embeddings.LayerNorm.gamma"],
    ["as TensorFlow wrote it, in a bare model", "bert.encoder.layer.1.output.LayerNorm.bias", "encoder.layer.1.output.LayerNorm.beta"],
  ])("%s", (_, name, inFile) => {
    const checkpoint = checkpointOf(["something.else", inFile]);
    expect(findTensor(checkpoint, name)).toBe(checkpoint.tensors.get(inFile));
  });

  it("under its own name first", () => {
    const checkpoint = checkpointOf(["layers.0.weight", "model.layers.0.weight"]);
    expect(findTensor(checkpoint, "model.layers.0.weight")).toBe(checkpoint.tensors.get("model.layers.0.weight"));
  });

  it("only if it is the same tensor", () => {
    const checkpoint = checkpointOf(["model.norm.weight", "encoder.layer.0.dense.gamma"]);
    expect(findTensor(checkpoint, "model.norm.bias")).toBeUndefined();
    expect(findTensor(checkpoint, "encoder.layer.0.dense.weight")).toBeUndefined();
  });
});

describe("what does not fit", () => {
  const parameters = ["model.norm.weight", "model.layers.0.mlp.up_proj.weight"].map((name) => ({
    name,
    shape: [2, 3],
    kind: "norm" as const,
  }));

  it("is listed with the nearest name, where some tensors fit", () => {
    expect(() => checkTensors(checkpointOf(["norm.weight", "layers.0.mlp.upproj.weight"]), parameters)).toThrow(
      /model\.layers\.0\.mlp\.up_proj\.weight \[2, 3\] is missing \(the nearest name in the file is layers\.0\.mlp\.upproj\.weight\)/,
    );
  });

  it("is another model's, where none does", () => {
    expect(() => checkTensors(checkpointOf(["visual.conv.weight", "visual.conv.bias"]), parameters)).toThrow(
      /none of the 2 tensors that config\.json implies is in the file, with or without an outer module's name: expected model\.norm\.weight.*; the file has visual\.conv\.weight/s,
    );
  });
});
