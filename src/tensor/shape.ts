/**
 * Sizes of tensor dimensions: integers, or polynomials with integer coefficients over named sizes that are known only
 * when a batch arrives (`batch`, `tokenChunk`, ...). Equality is exact, so a shape error is found when the graph is built.
 */
import { ShapeError } from "../base/errors.ts";

/** A dimension: a number, or a polynomial over named sizes. Both are immutable. */
export type Dim = number | SymbolicDim;
export type Shape = readonly Dim[];
/** Values for the named sizes. */
export type DimBindings = Readonly<Record<string, number>>;

/** A polynomial that is not a constant. Keys are monomials: names joined by `*`, sorted; the constant term has key "". */
export class SymbolicDim {
  readonly terms: ReadonlyMap<string, number>;
  readonly key: string;
  constructor(terms: ReadonlyMap<string, number>) {
    this.terms = terms;
    this.key = [...terms]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([monomial, c]) => (monomial === "" ? `${c}` : c === 1 ? monomial : `${c}*${monomial}`))
      .join("+");
  }
  toString(): string {
    return this.key;
  }
}

/** A named size, for example `dim("batch")`. */
export const dim = (name: string): Dim => new SymbolicDim(new Map([[name, 1]]));

const termsOf = (d: Dim): ReadonlyMap<string, number> => (typeof d === "number" ? new Map([["", d]]) : d.terms);

function normalise(terms: Map<string, number>): Dim {
  for (const [monomial, coefficient] of terms) if (coefficient === 0) terms.delete(monomial);
  if (terms.size === 0) return 0;
  if (terms.size === 1 && terms.has("")) return terms.get("")!;
  return new SymbolicDim(terms);
}

export function addDims(...dims: Dim[]): Dim {
  const sum = new Map<string, number>();
  for (const d of dims) for (const [monomial, c] of termsOf(d)) sum.set(monomial, (sum.get(monomial) ?? 0) + c);
  return normalise(sum);
}

export function multiplyDims(...dims: Dim[]): Dim {
  let product: Dim = 1;
  for (const d of dims) {
    const next = new Map<string, number>();
    for (const [m1, c1] of termsOf(product)) {
      for (const [m2, c2] of termsOf(d)) {
        const monomial = [...m1.split("*"), ...m2.split("*")].filter(Boolean).sort().join("*");
        next.set(monomial, (next.get(monomial) ?? 0) + c1 * c2);
      }
    }
    product = normalise(next);
  }
  return product;
}

export const subtractDims = (a: Dim, b: Dim): Dim => addDims(a, multiplyDims(-1, b));

/** a / b where b is an integer that divides every coefficient, or a monomial that divides every term.
 * @throws ShapeError if the division leaves a remainder */
export function divideDims(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number" && b !== 0 && a % b === 0) return a / b;
  const divisor = [...termsOf(b)];
  const quotient = new Map<string, number>();
  if (divisor.length === 1) {
    const [divisorNames, coefficient] = [divisor[0]![0].split("*").filter(Boolean), divisor[0]![1]];
    for (const [monomial, c] of termsOf(a)) {
      const names = monomial.split("*").filter(Boolean);
      const complete = divisorNames.every((name) => {
        const at = names.indexOf(name);
        if (at >= 0) names.splice(at, 1);
        return at >= 0;
      });
      if (!complete || c % coefficient !== 0) throw new ShapeError(`cannot divide size ${a} by ${b}: it leaves a remainder.`);
      quotient.set(names.join("*"), c / coefficient);
    }
    return normalise(quotient);
  }
  if (dimsEqual(a, b)) return 1;
  throw new ShapeError(`cannot divide size ${a} by ${b}: it leaves a remainder.`);
}

const keyOf = (d: Dim): string => (typeof d === "number" ? String(d) : d.key);
export const dimsEqual = (a: Dim, b: Dim): boolean => keyOf(a) === keyOf(b);
export const shapesEqual = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((d, i) => dimsEqual(d, b[i]!));
export const sizeOf = (shape: Shape): Dim => multiplyDims(...shape);
export const showShape = (shape: Shape): string => `[${shape.map(keyOf).join(", ")}]`;

/** The names that occur in a dimension. */
export function dimNames(d: Dim): string[] {
  return typeof d === "number" ? [] : [...new Set([...d.terms.keys()].flatMap((monomial) => monomial.split("*").filter(Boolean)))];
}

/** The number that a dimension stands for.
 * @throws ShapeError if a name has no value */
export function evaluateDim(d: Dim, bindings: DimBindings): number {
  if (typeof d === "number") return d;
  let total = 0;
  for (const [monomial, c] of d.terms) {
    let product = c;
    for (const name of monomial.split("*").filter(Boolean)) {
      const value = bindings[name];
      if (value === undefined) throw new ShapeError(`size "${name}" has no value; known: ${Object.keys(bindings).join(", ") || "none"}.`);
      product *= value;
    }
    total += product;
  }
  return total;
}
export const evaluateShape = (shape: Shape, bindings: DimBindings): number[] => shape.map((d) => evaluateDim(d, bindings));

/** NumPy broadcasting of two shapes. A named size broadcasts against 1 only.
 * @throws ShapeError if two sizes differ and neither is 1 */
export function broadcastShapes(a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const left = a[a.length - rank + i] ?? 1;
    const right = b[b.length - rank + i] ?? 1;
    if (dimsEqual(left, right) || right === 1) return left;
    if (left === 1) return right;
    throw new ShapeError(
      `shapes ${showShape(a)} and ${showShape(b)} do not broadcast: ${left} against ${right}. Reshape one operand, or check the sizes in config.json.`,
    );
  });
}
