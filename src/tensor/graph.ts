/**
 * The tensor program: a directed acyclic graph of primitive operations over typed values. A graph only describes;
 * backends run it. Nodes are kept in the order they were added, which is a topological order.
 */
import { ShapeError } from "../base/errors.ts";
import type { DType } from "./dtype.ts";
import { type Shape, showShape } from "./shape.ts";

export interface TensorType {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** A typed edge of the graph. Made only by `Graph` methods. */
export interface Value extends TensorType {
  readonly graph: Graph;
  readonly id: number;
  /** The node that makes it; undefined for a graph input. */
  readonly producer: Node | undefined;
}

/** Attribute values of a node; `Dim`s are allowed inside arrays where an operation says so. */
export type Attributes = Readonly<Record<string, unknown>>;

export interface Node {
  readonly op: OpDefinition;
  readonly inputs: readonly Value[];
  readonly attributes: Attributes;
  readonly outputs: readonly Value[];
}

/** A dense tensor for the float64 reference interpreter. Row-major. int64 and bool are held as doubles too. */
export interface ReferenceArray {
  readonly shape: readonly number[];
  readonly data: Float64Array<ArrayBufferLike>;
}

/** Sizes that are known only when an operation has run, by the names that they have in its results. */
export interface DecidedSizes {
  names(attributes: Attributes): readonly string[];
  /** In the order of the names. */
  sizes(inputs: readonly ReferenceArray[], attributes: Attributes): readonly number[];
  /** What to reckon with before it has run. */
  likely(shapes: readonly (readonly number[])[], attributes: Attributes): readonly number[];
}

/** One primitive operation: its shape rule and reference implementation stand in one file under ops/, its gradient in gradient-rules.ts. */
export interface OpDefinition {
  readonly name: string;
  /** Output types. @throws ShapeError where the inputs do not fit */
  infer(inputs: readonly TensorType[], attributes: Attributes): TensorType[];
  /** Named sizes of results that operands decide, where there are such. */
  readonly decides?: DecidedSizes;
  /** What a kernel holds while it works, beside operands and results. */
  scratch?(inputs: readonly TensorType[]): TensorType[];
  /** Evaluate in float64. `outputShapes` are already numbers. */
  reference(inputs: readonly ReferenceArray[], attributes: Attributes, outputShapes: readonly (readonly number[])[]): ReferenceArray[];
}

export class Graph {
  readonly inputs = new Map<string, Value>();
  readonly outputs = new Map<string, Value>();
  readonly nodes: Node[] = [];
  /** Values that a backward pass may keep from the forward pass instead of recomputing them (see `keep`). */
  readonly kept = new Set<Value>();
  #nextId = 0;

  input(name: string, type: TensorType): Value {
    if (this.inputs.has(name)) throw new ShapeError(`graph input "${name}" is declared twice.`);
    const value = this.#value(type, undefined);
    this.inputs.set(name, value);
    return value;
  }

  output(name: string, value: Value): void {
    if (value.graph !== this) throw new ShapeError(`output "${name}" belongs to another graph.`);
    if (this.outputs.has(name)) throw new ShapeError(`graph output "${name}" is declared twice.`);
    this.outputs.set(name, value);
  }

  /** Add a node. Operations call this; models call the functions that operations export. */
  add(op: OpDefinition, inputs: readonly Value[], attributes: Attributes = {}): readonly Value[] {
    for (const input of inputs) if (input.graph !== this) throw new ShapeError(`${op.name}: an operand belongs to another graph.`);
    const types = op.infer(inputs, attributes);
    const node = { op, inputs: [...inputs], attributes, outputs: [] as Value[] };
    for (const type of types) node.outputs.push(this.#value(type, node));
    this.nodes.push(node);
    return node.outputs;
  }

  /** Mark a value worth keeping for the backward pass: expensive to make, small to hold. Returns it. */
  keep(value: Value): Value {
    this.kept.add(value);
    return value;
  }

  #value(type: TensorType, producer: Node | undefined): Value {
    return { graph: this, id: this.#nextId++, dtype: type.dtype, shape: type.shape, producer };
  }
}

/** A text form of attributes that is equal for equal ones. JSON alone writes NaN and both infinities as null, and -0 as 0. */
export function printAttributes(attributes: Attributes): string {
  return JSON.stringify(attributes, (_, value) => {
    if (typeof value === "number")
      return Number.isFinite(value) && !Object.is(value, -0) ? value : `number ${Object.is(value, -0) ? "-0" : value}`;
    return value !== null && typeof value === "object" && "key" in value ? value.key : value;
  });
}

/** A text form that is equal for equal programs: input and output names and types, operations, attributes, wiring. */
export function printGraph(graph: Graph): string {
  const label = new Map<number, string>();
  const lines: string[] = [];
  for (const [name, value] of graph.inputs) {
    label.set(value.id, `%${name}`);
    lines.push(`input %${name}: ${value.dtype}${showShape(value.shape)}`);
  }
  let count = 0;
  for (const node of graph.nodes) {
    for (const output of node.outputs) label.set(output.id, `%${count++}`);
    lines.push(
      `${node.outputs.map((o) => `${label.get(o.id)}: ${o.dtype}${showShape(o.shape)}`).join(", ")} = ${node.op.name}(${node.inputs.map((i) => label.get(i.id)).join(", ")}) ${printAttributes(node.attributes)}`,
    );
  }
  for (const [name, value] of graph.outputs) lines.push(`output ${name} = ${label.get(value.id)}`);
  for (const value of graph.kept) lines.push(`keep ${label.get(value.id)}`);
  return lines.join("\n");
}
