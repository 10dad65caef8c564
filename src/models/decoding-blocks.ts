/**
 * Consecutive blocks of a decoder as one graph for decoding with a cache. Keys and values of earlier tokens are inputs with
 * room for more than there are (the mask hides the rest); results are those of the new tokens alone. Blocks with as many
 * layers of the same kinds make equal graphs. Named sizes: `batch`, `tokenChunk` (T), `pastTokens` (P), `positions`.
 */
import { Graph, type TensorType, type Value } from "../tensor/graph.ts";
import { addDims, type Dim, dim } from "../tensor/shape.ts";
import { positionBiasShape } from "./layers/relative-bias.ts";
import type { RotaryConfig } from "./layers/rotary.ts";
import type { MaskKind, Model } from "./model.ts";
import { type ParameterSpec, SegmentBuilder } from "./segment-builder.ts";
import { batchDim, encoderTokensDim, pastTokensDim, positionBiasName, type Segment, type SegmentContext } from "./segments.ts";

/** Layers `from` to `to`, the last not included. */
export interface LayerRange {
  readonly from: number;
  readonly to: number;
}

/** Name of the input with the mask of a kind. */
export const maskInput = ({ slidingWindow }: MaskKind): string => (slidingWindow === undefined ? "mask" : `mask.${slidingWindow}`);

/** The different rotary positions of a model's layers. */
export const rotaryKinds = (model: Model): readonly RotaryConfig[] => [
  ...new Set(Array.from({ length: model.numHiddenLayers }, (_, layer) => model.rotary?.(layer) ?? []).flat()),
];

/** Names of the inputs with the tables of a kind. */
export const rotaryInputs = (kind: number) => ({ cos: `rotaryCos.${kind}`, sin: `rotarySin.${kind}` }) as const;

/** Names of what one layer reads of the cache and gives to it; `index` counts from the first layer of the graph. */
export const cacheNames = (index: number) =>
  ({ pastKey: `pastKey.${index}`, pastValue: `pastValue.${index}`, key: `key.${index}`, value: `value.${index}` }) as const;

/** Names of the inputs with keys and values of the encoder's tokens for one layer, `index` as above. */
export const crossNames = (index: number) => ({ key: `crossKey.${index}`, value: `crossValue.${index}` }) as const;

/**
 * hidden [B, T, C], positionIds int64 [B, T], rotary tables, masks [B, 1, 1, T, P + T], positionBias.0 of the cache's slots and
 * the new tokens, and of every layer pastKey and pastValue [B, H, P, D]; in an encoder-decoder crossMask [B, 1, 1, T, S] and of every
 * layer crossKey and crossValue [B, S, heads * D] -> hidden, and of every layer key and value [B, H, T, D] of the new tokens
 */
export function buildDecodingBlocks({ model, options }: Pick<SegmentContext, "model" | "options">, { from, to }: LayerRange): Segment {
  const graph = new Graph();
  const parameters = new Map<string, ParameterSpec>();
  const T = dim("tokenChunk");
  const once = (name: string, dtype: TensorType["dtype"], shape: readonly Dim[]): Value =>
    graph.inputs.get(name) ?? graph.input(name, { dtype, shape });
  let hidden = once("hidden", "float32", [batchDim, T, model.hiddenSize]);
  const positionIds = once("positionIds", "int64", [batchDim, T]);
  const kinds = rotaryKinds(model);
  const biasShape = positionBiasShape(model, [T, addDims(pastTokensDim, T)]);
  const positionBias = model.relativeBias && once(positionBiasName(0), "float32", biasShape);
  for (let layer = from; layer < to; layer++) {
    const prefix = model.blockPrefix(layer);
    const names = cacheNames(layer - from);
    const cache = (name: string): Value => once(name, "float32", [batchDim, model.numKeyValueHeads, pastTokensDim, model.headDim]);
    const turning = model.rotary?.(layer);
    const table = (part: "cos" | "sin"): Value =>
      once(rotaryInputs(kinds.indexOf(turning!))[part], "float32", [dim("positions"), turning!.rotaryDim / 2]);
    const cross = (part: "key" | "value"): Value =>
      once(crossNames(layer - from)[part], "float32", [batchDim, encoderTokensDim, model.numAttentionHeads * model.headDim]);
    const crossMask = (): Value => once("crossMask", "float32", [batchDim, 1, 1, T, encoderTokensDim]);
    const build = new SegmentBuilder({
      ...options,
      prefix,
      shared: { graph, inputName: (name) => (name.startsWith(prefix) ? `${layer - from}.${name.slice(prefix.length)}` : name) },
    });
    const output = model.block(build, {
      ...{ layer, hidden, positionIds },
      masks: [once(maskInput(model.maskKind(layer)), "float32", [batchDim, 1, 1, T, addDims(pastTokensDim, T)])],
      past: { key: cache(names.pastKey), value: cache(names.pastValue), isBuffer: true },
      ...(turning && { rotary: { cos: table("cos"), sin: table("sin") } }),
      ...(model.encoder && { encoded: { key: cross("key"), value: cross("value"), masks: [crossMask()] } }),
      ...(positionBias && { positionBias: [positionBias] }),
    });
    for (const [local, spec] of build.parameters) parameters.set(local, spec);
    graph.output(names.key, output.present.key);
    graph.output(names.value, output.present.value);
    hidden = output.hidden;
  }
  graph.output("hidden", hidden);
  return { name: `layers ${from} to ${to - 1}`, graph, parameters };
}
