/** Collects the nodes of an ONNX graph. Sizes that are known only at run time become integer tensors computed from input shapes, once for each expression. */
import { BackendError } from "../../base/errors.ts";
import { loneName } from "../../tensor/bindings.ts";
import type { Graph } from "../../tensor/graph.ts";
import { type Dim, type Shape, SymbolicDim } from "../../tensor/shape.ts";
import { type OnnxAttribute, type OnnxNode, type OnnxTensor, onnxAttributeType, onnxDataType } from "./onnx-schema.ts";

export type AttributeValue = number | string | readonly number[] | { readonly float: number };

export interface EmitOptions {
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
  readonly domain?: "" | "com.microsoft";
  /** Names of the results; one new name where absent. Empty strings are outputs not wanted. */
  readonly outputs?: readonly string[];
}

export class Emitter {
  readonly nodes: OnnxNode[] = [];
  readonly initializers: OnnxTensor[] = [];
  readonly #graph: Graph;
  readonly #constants = new Map<string, string>();
  readonly #sizes = new Map<string, string>();
  readonly #decided = new Map<string, () => string>();
  #count = 0;

  constructor(graph: Graph) {
    this.#graph = graph;
  }

  fresh(): string {
    return `value:${this.#count++}`; // no graph input is called so
  }

  /** Adds a node and returns the name of its first result. */
  emit(opType: string, input: readonly string[], { attributes = {}, domain = "", outputs = [this.fresh()] }: EmitOptions = {}): string {
    this.nodes.push({
      opType,
      domain,
      input: [...input],
      output: [...outputs],
      attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
    });
    return outputs[0]!;
  }

  int64s(values: readonly number[], dims: readonly number[] = [values.length]): string {
    return this.#constant(`i64 ${values} [${dims}]`, {
      dims: [...dims],
      dataType: onnxDataType.int64,
      rawData: bytesOf(BigInt64Array.from(values, BigInt)),
    });
  }

  floats(values: Float32Array, dims: readonly number[]): string {
    return this.#constant(`f32 ${values} [${dims}]`, { dims: [...dims], dataType: onnxDataType.float32, rawData: bytesOf(values.slice()) });
  }

  scalar(value: number, dtype: "float32" | "int64" | "int32" | "uint32" | "int8" | "uint8" | "bool"): string {
    const array = {
      float32: () => Float32Array.of(value),
      int64: () => BigInt64Array.of(BigInt(value)),
      int32: () => Int32Array.of(value),
      int8: () => Int8Array.of(value),
      uint8: () => Uint8Array.of(value),
      uint32: () => Uint32Array.of(value),
      bool: () => Uint8Array.of(value),
    };
    return this.#constant(`${dtype} ${Object.is(value, -0) ? "-0" : value}`, {
      dims: [],
      dataType: onnxDataType[dtype],
      rawData: bytesOf(array[dtype]()),
    });
  }

  /** int64 [rank]: the numbers of a shape. */
  shape(shape: Shape): string {
    if (shape.every((d) => typeof d === "number")) return this.int64s(shape as number[]);
    const key = `shape ${shape.map(String)}`;
    return this.#once(key, () =>
      this.emit(
        "Concat",
        shape.map((d) => this.size(d)),
        { attributes: { axis: 0 } },
      ),
    );
  }

  /** Adds a Reshape of a value from `from`. Unchanged named sizes are 0 (copied) and one other is -1 (inferred), which leaves the runtime a fixed target that it can plan with. */
  reshape(x: string, { from, to, outputs }: { from: Shape; to: Shape; outputs?: readonly string[] }): string {
    const short = to.map((d, i) => (typeof d === "number" ? d : from[i] instanceof SymbolicDim && from[i].key === d.key ? 0 : -1));
    const isShort = short.filter((n) => n === -1).length <= 1 && !to.includes(0);
    // Otherwise a size may be 0 by itself, as that of an empty cache.
    const attributes: Record<string, number> = isShort ? {} : { allowzero: 1 };
    return this.emit("Reshape", [x, isShort ? this.int64s(short) : this.shape(to)], { attributes, ...(outputs && { outputs }) });
  }

  /** int64 [1]: one size. */
  size(d: Dim): string {
    if (typeof d === "number") return this.int64s([d]);
    return this.#once(`size ${d.key}`, () => {
      const terms = [...d.terms].map(([monomial, coefficient]) => {
        const factors = monomial
          .split("*")
          .filter(Boolean)
          .map((name) => this.#named(name));
        if (coefficient !== 1 || factors.length === 0) factors.unshift(this.int64s([coefficient]));
        return factors.reduce((product, factor) => this.emit("Mul", [product, factor]));
      });
      return terms.reduce((sum, term) => this.emit("Add", [sum, term]));
    });
  }

  /** A named size that a node's operand decides: int64 [1]. */
  decide(name: string, size: () => string): void {
    this.#decided.set(name, this.#decided.get(name) ?? size);
  }

  /** int64 [1]: a named size, read off the shape of an input that determines it, or as a node before decided it. */
  #named(name: string): string {
    return this.#once(`name ${name}`, () => {
      const decided = this.#decided.get(name);
      if (decided) return decided();
      for (const [input, { shape }] of this.#graph.inputs) {
        for (const [axis, d] of shape.entries()) {
          const lone = typeof d === "number" ? undefined : loneName(d.terms);
          if (lone?.name !== name) continue;
          const size = this.emit("Gather", [this.#once(`shapeOf ${input}`, () => this.emit("Shape", [input])), this.int64s([axis])]);
          return lone.times === 1 ? size : this.emit("Div", [size, this.int64s([lone.times])]);
        }
      }
      throw new BackendError(`the named size "${name}" cannot be read off any graph input; give one an input dimension of its own.`);
    });
  }

  #once(key: string, make: () => string): string {
    const known = this.#sizes.get(key);
    if (known) return known;
    const made = make();
    this.#sizes.set(key, made);
    return made;
  }

  #constant(key: string, tensor: Omit<OnnxTensor, "name">): string {
    let name = this.#constants.get(key);
    if (name === undefined) {
      name = `constant:${this.#constants.size}`;
      this.#constants.set(key, name);
      this.initializers.push({ name, ...tensor });
    }
    return name;
  }
}

const bytesOf = (array: BigInt64Array | Float32Array | Int32Array | Uint32Array | Int8Array | Uint8Array): Uint8Array =>
  new Uint8Array(array.buffer);

function attribute(name: string, value: AttributeValue): OnnxAttribute {
  if (typeof value === "number") return { name, type: onnxAttributeType.int, i: value };
  if (typeof value === "string") return { name, type: onnxAttributeType.string, s: new TextEncoder().encode(value) };
  if ("float" in value) return { name, type: onnxAttributeType.float, f: value.float };
  return { name, type: onnxAttributeType.ints, ints: [...value] };
}
