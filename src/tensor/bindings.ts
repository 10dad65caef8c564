/** Finds the numbers behind named sizes from the shapes of actual inputs. */
import { ShapeError } from "../base/errors.ts";
import { dimNames, evaluateDim, type Shape, showShape } from "./shape.ts";

export interface BoundInput {
  readonly name: string;
  readonly shape: Shape;
  readonly actual: readonly number[];
}

/** @throws ShapeError if an actual shape contradicts the declared one, or a named size has two values or none that is an integer */
export function bindDims(inputs: readonly BoundInput[]): Record<string, number> {
  const bindings: Record<string, number> = {};
  for (const { name, shape, actual } of inputs) {
    if (shape.length !== actual.length)
      throw new ShapeError(`input "${name}" has shape [${actual.join(", ")}]; expected ${showShape(shape)}.`);
    shape.forEach((d, i) => {
      const coefficient = typeof d === "number" ? undefined : loneName(d.terms);
      if (!coefficient || bindings[coefficient.name] !== undefined) return;
      const size = actual[i]! / coefficient.times;
      if (!Number.isInteger(size))
        throw new ShapeError(
          `input "${name}" has shape [${actual.join(", ")}]; expected ${showShape(shape)}, where dimension ${i} is a multiple of ${coefficient.times}.`,
        );
      bindings[coefficient.name] = size;
    });
  }
  for (const { name, shape, actual } of inputs) {
    shape.forEach((d, i) => {
      if (dimNames(d).some((known) => bindings[known] === undefined)) return;
      if (evaluateDim(d, bindings) !== actual[i])
        throw new ShapeError(
          `input "${name}" has shape [${actual.join(", ")}]; expected ${showShape(shape)}, where dimension ${i} is ${evaluateDim(d, bindings)}.`,
        );
    });
  }
  return bindings;
}

/** The name and factor of a dimension of the form `times * name`. */
export function loneName(terms: ReadonlyMap<string, number>): { name: string; times: number } | undefined {
  const [only, ...rest] = [...terms];
  return only && rest.length === 0 && only[0] !== "" && !only[0].includes("*") ? { name: only[0], times: only[1] } : undefined;
}
