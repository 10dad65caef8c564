/** Reverse-mode differentiation: walks the nodes backwards and applies each operation's own rule. Gradients become nodes of the same graph. */
import { ShapeError } from "../base/errors.ts";
import { gradientRules } from "./gradient-rules.ts";
import type { Graph, Value } from "./graph.ts";
import { add } from "./ops/index.ts";
import { shapesEqual, showShape } from "./shape.ts";

export interface GradientsOptions {
  readonly graph: Graph;
  /** Values to differentiate, with dL/d(value) as a value of the same shape. */
  readonly outputs: readonly { readonly value: Value; readonly gradient: Value }[];
  readonly wrt: readonly Value[];
}

/** dL/d(wrt[i]) for each i; undefined where the outputs do not depend on it.
 * @throws ShapeError if an operation on the way has no gradient rule */
export function gradients({ graph, outputs, wrt }: GradientsOptions): (Value | undefined)[] {
  const nodes = [...graph.nodes];
  const onPath = new Set<Value>(wrt);
  for (const node of nodes) if (node.inputs.some((input) => onPath.has(input))) for (const output of node.outputs) onPath.add(output);

  const found = new Map<Value, Value>();
  const accumulate = (value: Value, gradient: Value): void => {
    if (!shapesEqual(value.shape, gradient.shape))
      throw new ShapeError(`gradient of shape ${showShape(gradient.shape)} for a value of shape ${showShape(value.shape)}.`);
    const sum = found.get(value);
    found.set(value, sum ? add(sum, gradient) : gradient);
  };
  for (const { value, gradient } of outputs) if (onPath.has(value)) accumulate(value, gradient);

  for (const node of nodes.reverse()) {
    const outputGradients = node.outputs.map((output) => found.get(output));
    if (outputGradients.every((gradient) => gradient === undefined) || !node.inputs.some((input) => onPath.has(input))) continue;
    const rule = gradientRules[node.op.name];
    if (!rule)
      throw new ShapeError(
        `${node.op.name} has no gradient rule, yet the loss depends on a trained value through it. Put stopGradient before it, or use another operation.`,
      );
    const inputGradients = rule({ node, inputs: node.inputs, outputs: node.outputs, outputGradients });
    node.inputs.forEach((input, i) => {
      const gradient = inputGradients[i];
      if (gradient && onPath.has(input)) accumulate(input, gradient);
    });
  }
  return wrt.map((value) => found.get(value));
}
