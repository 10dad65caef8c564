/** Tensor graph -> ONNX model bytes. */
import { BackendError } from "../../base/errors.ts";
import { type DType } from "../../tensor/dtype.ts";
import type { Graph, TensorType, Value } from "../../tensor/graph.ts";
import { Emitter } from "./emitter.ts";
import { lowerings } from "./lowerings.ts";
import { encodeOnnx, onnxDataType, type OnnxValueInfo } from "./onnx-schema.ts";

const opset = 21;
const irVersion = 10;

/** @throws BackendError naming the operation, if one has no lowering */
export function lowerToOnnx(graph: Graph, name: string): Uint8Array {
  const emitter = new Emitter(graph);
  const names = new Map<Value, string>();
  const used = new Set<Value>([...graph.outputs.values(), ...graph.nodes.flatMap((node) => node.inputs)]);
  for (const [input, value] of graph.inputs) names.set(value, input);
  const exported = new Map<Value, string>();
  for (const [output, value] of graph.outputs) if (value.producer && !exported.has(value)) exported.set(value, `out:${output}`);
  for (const node of graph.nodes) {
    const lowering = lowerings[node.op.name];
    if (!lowering) throw new BackendError(`${name}: operation "${node.op.name}" has no ONNX lowering. Add one in backends/onnx/lowerings.ts.`);
    const outputs = node.outputs.map((output) => exported.get(output) ?? emitter.fresh());
    lowering({ node, emitter, inputs: node.inputs.map((input) => names.get(input)!), outputs, unused: (i) => !used.has(node.outputs[i]!) });
    node.outputs.forEach((output, i) => names.set(output, outputs[i]!));
  }
  // A graph may return one value under several names, or an input as it is; ONNX wants a node for each.
  for (const [output, value] of graph.outputs) {
    if (exported.get(value) !== `out:${output}`) emitter.emit("Identity", [names.get(value)!], { outputs: [`out:${output}`] });
  }
  return encodeOnnx({
    irVersion,
    producerName: "tunesmith",
    opsetImport: [
      { domain: "", version: opset },
      { domain: "com.microsoft", version: 1 },
    ],
    graph: {
      name,
      node: emitter.nodes,
      initializer: emitter.initializers,
      input: [...graph.inputs].map(([input, value]) => valueInfo(input, value)),
      output: [...graph.outputs].map(([output, value]) => valueInfo(`out:${output}`, value)),
    },
  });
}

function valueInfo(name: string, { dtype, shape }: TensorType): OnnxValueInfo {
  const dim = shape.map((d) => (typeof d === "number" ? { dimValue: d } : { dimParam: d.key }));
  return { name, type: { tensorType: { elemType: onnxDataType[dtype satisfies DType], shape: { dim } } } };
}
