/** Activation functions by the names that config.json gives them. */
import type { Value } from "../../tensor/graph.ts";
import { gelu, relu, silu } from "../../tensor/ops/index.ts";

const tanhGelu = (x: Value): Value => gelu(x, { approximate: "tanh" });

export const activations: Readonly<Record<string, (x: Value) => Value>> = {
  gelu: (x) => gelu(x, { approximate: "none" }),
  gelu_new: tanhGelu,
  gelu_pytorch_tanh: tanhGelu,
  relu: (x) => relu(x),
  silu: (x) => silu(x),
};
