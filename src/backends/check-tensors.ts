/** Whether the tensors of a call are what a graph declared. */
import { BackendError } from "../base/errors.ts";
import { bindDims } from "../tensor/bindings.ts";
import type { TensorType } from "../tensor/graph.ts";
import { type DimBindings, dimNames, evaluateShape, showShape } from "../tensor/shape.ts";
import type { HostTensor, Tensor } from "./backend.ts";

/** @returns the numbers behind named sizes. @throws BackendError if an input is missing or has another type or shape */
export function bindInputs({
  name,
  expected,
  inputs,
}: {
  /** Of the graph, for the message. */
  readonly name: string;
  readonly expected: Iterable<readonly [string, TensorType]>;
  readonly inputs: Readonly<Record<string, Tensor>>;
}): DimBindings {
  const shapes = [...expected].map(([input, { dtype, shape }]) => {
    const tensor = inputs[input];
    if (!tensor) throw new BackendError(`${name}: input "${input}" is missing; given: ${Object.keys(inputs).join(", ") || "none"}.`);
    if (tensor.dtype !== dtype) throw new BackendError(`${name}: input "${input}" is ${tensor.dtype}; expected ${dtype}.`);
    return { name: input, shape, actual: tensor.dims };
  });
  try {
    return bindDims(shapes);
  } catch (error) {
    throw new BackendError(`${name}: ${(error as Error).message}`, { cause: error });
  }
}

/** @throws BackendError if a result is not one of the graph's, or does not fit the memory that it is to be written into */
export function checkOutputs({
  name,
  expected,
  outputs,
  bindings,
}: {
  readonly name: string;
  readonly expected: ReadonlyMap<string, TensorType>;
  readonly outputs: Readonly<Record<string, HostTensor>>;
  readonly bindings: DimBindings;
}): void {
  for (const [output, { dtype: given, dims }] of Object.entries(outputs)) {
    const type = expected.get(output);
    if (!type) throw new BackendError(`${name}: output "${output}" does not exist; known: ${[...expected.keys()].join(", ")}.`);
    const known = type.shape.flatMap(dimNames).every((size) => bindings[size] !== undefined);
    const fits = known ? String(evaluateShape(type.shape, bindings)) === String(dims) : type.shape.length === dims.length;
    if (given !== type.dtype || !fits) {
      const memory = `${given}[${dims.join(", ")}]`;
      throw new BackendError(`${name}: output "${output}" was given memory for ${memory}; expected ${type.dtype}${showShape(type.shape)}.`);
    }
  }
}
