/** Typed tensor programs: build a graph with the operations, differentiate it, cut it in parts, evaluate it in float64. */
export { type GradientsOptions, gradients } from "./autodiff.ts";
export { type BoundInput, bindDims } from "./bindings.ts";
export { bytesPerElement, type DType, isFloat } from "./dtype.ts";
export {
  type Attributes,
  Graph,
  type Node,
  type OpDefinition,
  printGraph,
  type ReferenceArray,
  type TensorType,
  type Value,
} from "./graph.ts";
export { interpret } from "./interpret.ts";
export * from "./ops/index.ts";
export { ops } from "./ops/registry.ts";
export { type ExtractOptions, extract } from "./passes/extract.ts";
export { verifyGraph } from "./passes/verify.ts";
export * from "./shape.ts";
