/** Activations of MLPs by the names that config.json has for them. */
import type { Value } from "../../tensor/graph.ts";
import { gelu, relu, silu } from "../../tensor/ops/index.ts";
import type { ConfigReader } from "../config-reader.ts";

export type Activation = (x: Value) => Value;

const tanhGelu: Activation = (x) => gelu(x, { approximate: "tanh" });

export const activations: Readonly<Record<string, Activation>> = {
  gelu: (x) => gelu(x, { approximate: "none" }),
  gelu_new: tanhGelu,
  gelu_fast: tanhGelu,
  gelu_pytorch_tanh: tanhGelu,
  relu: (x) => relu(x),
  silu: (x) => silu(x),
  swish: (x) => silu(x),
};

/** @throws UnsupportedError if config.json names an activation that is not known */
export const readActivation = (config: ConfigReader, key: string, fallback: string): Activation =>
  activations[config.requireOneOf(key, Object.keys(activations), fallback)]!;
