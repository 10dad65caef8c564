/** The float64 reference interpreter: slow, exact, and what every backend is measured against. */
import { ShapeError } from "../base/errors.ts";
import { roundToFloat16 } from "../base/half.ts";
import { bindDims } from "./bindings.ts";
import type { Graph, ReferenceArray, Value } from "./graph.ts";
import { count } from "./ops/define.ts";
import { evaluateShape } from "./shape.ts";

/** @throws ShapeError if an input is missing, has another shape than declared, or other than the elements of its shape */
export function interpret(graph: Graph, inputs: Readonly<Record<string, ReferenceArray>>): Record<string, ReferenceArray> {
  const values = new Map<Value, ReferenceArray>();
  for (const [name, value] of graph.inputs) {
    const array = inputs[name];
    if (!array) throw new ShapeError(`input "${name}" is missing; given: ${Object.keys(inputs).join(", ")}.`);
    const needed = count(array.shape);
    if (array.data.length !== needed)
      throw new ShapeError(`input "${name}" has ${array.data.length} elements; its shape [${array.shape.join(", ")}] needs ${needed}.`);
    values.set(value, array);
  }
  const bindings = bindDims([...graph.inputs].map(([name, { shape }]) => ({ name, shape, actual: inputs[name]!.shape })));
  for (const node of graph.nodes) {
    const operands = node.inputs.map((input) => values.get(input)!);
    const { decides } = node.op;
    if (decides) {
      const sizes = decides.sizes(operands, node.attributes);
      decides.names(node.attributes).forEach((name, i) => {
        bindings[name] = sizes[i]!;
      });
    }
    const shapes = node.outputs.map(({ shape }) => evaluateShape(shape, bindings));
    const results = node.op.reference(operands, node.attributes, shapes);
    node.outputs.forEach((output, i) => values.set(output, output.dtype === "float16" ? rounded(results[i]!) : results[i]!));
  }
  return Object.fromEntries([...graph.outputs].map(([name, value]) => [name, values.get(value)!]));
}

/** float16 is rounded to after every operation; float32 is taken as exact. */
const rounded = ({ shape, data }: ReferenceArray): ReferenceArray => ({ shape, data: data.map(roundToFloat16) });
