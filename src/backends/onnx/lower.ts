/** Tensor graph -> ONNX model bytes. */
import { BackendError } from "../../base/errors.ts";
import type { Graph, Node, TensorType, Value } from "../../tensor/graph.ts";
import type { DeviceName } from "../registry.ts";
import { Emitter } from "./emitter.ts";
import { lowerings, movesBits } from "./lowerings.ts";
import { elementType, encodeOnnx, type OnnxNode, type OnnxTensor, type OnnxValueInfo } from "./onnx-schema.ts";
import { quantisedProduct } from "./quantised.ts";

/** Opset 26 brings BitCast, which bfloat16 needs; everything else is written for 21. */
const versions = { usual: { opset: 21, irVersion: 10 }, bfloat16: { opset: 26, irVersion: 13 } };

/** Results have names of their own: a graph may return an input, and one name may stand on both sides. */
export const outputName = (output: string): string => `out:${output}`;

export interface LowerOptions {
  readonly graph: Graph;
  /** For error messages and viewers. */
  readonly name: string;
  /** Kernels differ between devices, and not all of them are right. */
  readonly device: DeviceName;
  /** Graph inputs whose values stand in the model instead, as the tensors of a checkpoint do in an exported one. */
  readonly initializers?: ReadonlyMap<string, Omit<OnnxTensor, "name">>;
  /** Names of results; with a prefix that no input has where absent. */
  readonly outputName?: (output: string) => string;
}

/** @throws BackendError naming the operation, if one has no lowering */
export function lowerToOnnx({ graph, name, device, initializers = new Map(), outputName: nameOf = outputName }: LowerOptions): Uint8Array {
  const emitter = new Emitter(graph);
  const names = new Map<Value, string>();
  const operandsOf = (node: Node): readonly Value[] => quantisedProduct(node, device) ?? node.inputs;
  const used = new Set<Value>([...graph.outputs.values(), ...graph.nodes.flatMap(operandsOf)]);
  const returned = new Map([...graph.outputs].reverse().map(([output, value]) => [value, nameOf(output)]));
  for (const [input, value] of graph.inputs) names.set(value, input);
  for (const node of graph.nodes) {
    if (!node.outputs.some((output) => used.has(output))) continue;
    const lowering = lowerings[node.op.name];
    if (!lowering)
      throw new BackendError(`${name}: operation "${node.op.name}" has no ONNX lowering. Add one in backends/onnx/lowerings.ts.`);
    if (!movesBits.has(node.op.name) && [...node.inputs, ...node.outputs].some(({ dtype }) => dtype === "bfloat16")) {
      throw new BackendError(
        `${name}: operation "${node.op.name}" does not compute in bfloat16, which is for storage only. Cast to float32 before it.`,
      );
    }
    const outputs = node.outputs.map((output) => returned.get(output) ?? emitter.fresh());
    const inputs = operandsOf(node).map((input) => names.get(input)!);
    lowering({ node, emitter, device, inputs, outputs, unused: (i) => !used.has(node.outputs[i]!) });
    for (const [i, output] of node.outputs.entries()) names.set(output, outputs[i]!);
  }
  // A graph may return an input as it is, or one value under several names; ONNX wants a node for each.
  for (const [output, value] of graph.outputs)
    if (names.get(value) !== nameOf(output)) emitter.emit("Identity", [names.get(value)!], { outputs: [nameOf(output)] });
  const hasBfloat16 = [...graph.inputs.values(), ...graph.nodes.flatMap((node) => node.outputs)].some(({ dtype }) => dtype === "bfloat16");
  const { opset, irVersion } = hasBfloat16 ? versions.bfloat16 : versions.usual;
  return encodeOnnx({
    irVersion,
    producerName: "tunesmith",
    opsetImport: [
      { domain: "", version: opset },
      { domain: "com.microsoft", version: 1 },
    ],
    graph: {
      name,
      node: resultsAsTheyCome(emitter.nodes),
      initializer: [...emitter.initializers, ...[...initializers].map(([input, tensor]) => ({ name: input, ...tensor }))],
      input: [...graph.inputs].flatMap(([input, value]) => (initializers.has(input) ? [] : [valueInfo(input, value)])),
      output: [...graph.outputs].map(([output, value]) => valueInfo(nameOf(output), value)),
    },
  });
}

/**
 * ONNX Runtime walks back from the nodes that only give results, the last in the file first, and runs what each of them needs. So
 * results stand at the end, the earliest last: then the gradient of a parameter is made once its operands are there, and a large
 * operand is gone before the gradients of earlier layers begin. Otherwise all of them would wait for the whole chain.
 */
function resultsAsTheyCome(nodes: readonly OnnxNode[]): OnnxNode[] {
  const read = new Set(nodes.flatMap(({ input }) => input));
  const isRead = ({ output }: OnnxNode): boolean => output.some((name) => read.has(name));
  return [...nodes.filter(isRead), ...nodes.filter((node) => !isRead(node)).reverse()];
}

function valueInfo(name: string, { dtype, shape }: TensorType): OnnxValueInfo {
  const dim = shape.map((d) => (typeof d === "number" ? { dimValue: d } : { dimParam: d.key }));
  return { name, type: { tensorType: { elemType: elementType[dtype], shape: { dim } } } };
}
