/**
 * What a model writes its graphs with. A model is a chain of segments (embedding, every block, head); each segment is
 * one graph. Parameters become graph inputs under names without the layer's prefix, so that equal layers make equal
 * graphs and share one compiled executable.
 */
import { ShapeError } from "../base/errors.ts";
import { Graph, type TensorType, type Value } from "../tensor/graph.ts";
import { add, cast, constant, gather, greaterOrEqual, matmul, mul, randomUniform, where } from "../tensor/ops/index.ts";
import type { Dim } from "../tensor/shape.ts";
import type { KeyValues } from "./model.ts";
import { companionName, type ParameterStorage, type StoredTensors } from "./storage.ts";

/** A buffer is part of the checkpoint and never trained. */
export type ParameterKind = "weight" | "embedding" | "norm" | "bias" | "adapter" | "buffer";

/** A parameter as the checkpoint names it. */
export interface ParameterSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly kind: ParameterKind;
}

/** One linear layer as methods see it. */
export interface LinearCall {
  /** Module path as in the checkpoint, for example `model.layers.0.self_attn.q_proj`. */
  readonly module: string;
  readonly input: Value;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** "out-in": weight [out, in] (torch Linear); "in-out": weight [in, out] (GPT-2's Conv1D). */
  readonly layout: LinearLayout;
  readonly bare?: BareWeight;
  readonly weight: ParameterSpec;
  readonly bias: ParameterSpec | undefined;
  /** The layer's own output, bias included; [..., outFeatures]. */
  readonly output: Value;
}
export type LinearLayout = "out-in" | "in-out";

/**
 * Where transformers 5 and PEFT hold a weight that is in no linear layer there: a router's [out, in], or one of many experts in
 * [experts, parts * out, in]. Methods leave such layers alone where they are not asked for (`selectLinears`).
 */
export interface BareWeight {
  /** Path of that parameter there, for example `model.layers.3.mlp.experts.gate_up_proj`. */
  readonly parameter: string;
  readonly expert?: {
    readonly index: number;
    readonly count: number;
    /** Which of the layers that stand above each other in the parameter: 0 and 1 are gate and up. */
    readonly part: number;
    readonly parts: number;
  };
}

/** Rows of a table parameter at integer indices; `lookUp` is the model's own way, for indices inside the table. */
export interface RowsCall {
  readonly table: ParameterSpec;
  readonly indices: Value;
  lookUp(indices: Value): Value;
}

/** Which branch of the residual stream, and the stream that it joins [B, T, C]. */
export interface ResidualPlace {
  readonly module: "embedding" | "attention" | "mlp";
  readonly input: Value;
}

/** What a router made of a block's tokens. */
export interface RoutedCall {
  /** Of the experts, over all of them, [B * T, experts]. */
  readonly probabilities: Value;
  /** Experts of each token, int64 [B * T, expertsPerToken]. */
  readonly chosen: Value;
  /** B and T. */
  readonly tokens: readonly [Dim, Dim];
}

/** Where methods and regularisers reach into a model. All are optional; a model calls them at the same places in every family. */
export interface ModelHooks {
  /** Change the input of a linear layer [..., inFeatures]. */
  linearInput?(call: Pick<LinearCall, "module" | "input">, build: SegmentBuilder): Value;
  /** Replace the output of a linear layer. */
  linear?(call: LinearCall, build: SegmentBuilder): Value;
  /** Change a parameter that is used whole, in float32. */
  parameter?(call: { readonly spec: ParameterSpec; readonly value: Value }, build: SegmentBuilder): Value;
  /** Look rows of a table up in another way. */
  rows?(call: RowsCall, build: SegmentBuilder): Value;
  /** Keys and values that stand in front of a layer's own, [numKeyValueHeads, P, headDim], for all documents. */
  past?(build: SegmentBuilder): KeyValues;
  /** Change the token embeddings [B, T, C]. */
  embedding?(embedded: Value, build: SegmentBuilder): Value;
  /** Change a branch before it is added to the residual stream [B, T, C]. */
  residual?(branch: Value, build: SegmentBuilder, place: ResidualPlace): Value;
  /** Look at how a router dealt its tokens out; what comes of it leaves the segment as an output beside the hidden state. */
  routed?(call: RoutedCall, build: SegmentBuilder): void;
}

export interface SegmentOptions {
  /** Start of parameter names that is left out of graph input names, for example `model.layers.3.`. */
  readonly prefix: string;
  readonly hooks: readonly ModelHooks[];
  /** False when evaluating and generating: noise is left out. */
  readonly isTraining: boolean;
  /** How a parameter is held; it is decoded where it is used. */
  storageOf(parameter: string): ParameterStorage;
  /** True for parameters that no gradient is asked of; all may be trained where absent. */
  isFrozen?(parameter: string): boolean;
  /** Trained tables may be read in pieces, too, and their gradients come in such pieces. */
  readonly cutsTrained?: boolean;
  /** Write into a graph that another builder began: a second model beside the first, or one segment of a whole model. */
  readonly shared?: SharedGraph;
}

/** Rows `start` to `end` of a parameter's table. */
export interface ParameterPiece {
  readonly spec: ParameterSpec;
  readonly start: number;
  readonly end: number;
}

/** Graph inputs that hold some rows of a table. */
export interface TablePiece {
  readonly storage: ParameterStorage;
  readonly stored: StoredTensors<Value>;
  readonly shape: readonly number[];
  readonly isFrozen: boolean;
}

export interface SharedGraph {
  readonly graph: Graph;
  /** Name of the graph input for a parameter; one that is there already is read again. */
  inputName(parameter: string): string;
}

export class SegmentBuilder {
  readonly graph: Graph;
  /** Graph input name -> parameter, in order of first use. */
  readonly parameters = new Map<string, ParameterSpec>();
  /** Graph input name -> the part of a parameter that it holds. */
  readonly pieces = new Map<string, ParameterPiece>();
  readonly #decoded = new Map<string, Value>();
  readonly #values = new Map<string, Value>();
  readonly #options: SegmentOptions;
  #seed: Value | undefined;
  #randomUses = 0;

  constructor(options: SegmentOptions) {
    this.#options = options;
    this.graph = options.shared?.graph ?? new Graph();
  }

  /** The whole name of something in this segment. */
  nameOf(local: string): string {
    return `${this.#options.prefix}${local}`;
  }

  /** A parameter in float32, by its name in the checkpoint. Asking twice gives the same value. */
  parameter(spec: ParameterSpec): Value {
    const known = this.#values.get(spec.name);
    if (known) return known;
    const decoded = this.#options.storageOf(spec.name).decode(this.#stored(spec), spec.shape);
    this.#decoded.set(spec.name, decoded);
    const value = this.#options.hooks.reduce((current, hooks) => hooks.parameter?.({ spec, value: current }, this) ?? current, decoded);
    this.#values.set(spec.name, value);
    return value;
  }

  /** Rows of a table parameter [rows, C] at integer indices, in float32. Gathered before the cast, so that a table in half precision is never cast whole. */
  rows(table: ParameterSpec, indices: Value): Value {
    const lookUp = (at: Value): Value => {
      const [storage, stored] = [this.#options.storageOf(table.name), this.#stored(table)];
      if (storage.rows) return storage.rows(stored, at);
      const gathered = gather(stored.tensor, at);
      return gathered.dtype === "float32" ? gathered : cast(gathered, "float32");
    };
    const hooked = this.#options.hooks.reduce(
      (inner, hooks) => (hooks.rows ? (at: Value) => hooks.rows!({ table, indices: at, lookUp: inner }, this) : inner),
      lookUp,
    );
    return hooked(indices);
  }

  /**
   * A table [rows, C] as pieces of at most `most` rows. Each is a graph input over the table's own memory, so that the
   * table is neither copied nor decoded whole. Undefined where a method changes it, and where it is trained and must stay whole.
   */
  tablePieces(spec: ParameterSpec, most: number): readonly TablePiece[] | undefined {
    const { storageOf, shared, cutsTrained } = this.#options;
    const storage = storageOf(spec.name);
    const isFrozen = this.#options.isFrozen?.(spec.name) ?? false;
    if (shared || !(isFrozen || cutsTrained) || !storage.holdsRows) return undefined;
    if (this.parameter(spec) !== this.#decoded.get(spec.name)) return undefined;
    const [rows, columns] = spec.shape as [number, number];
    return Array.from({ length: Math.ceil(rows / most) }, (_, i) => {
      const [start, end] = [i * most, Math.min(rows, (i + 1) * most)];
      const [name, shape] = [`${spec.name}[${start}:${end}]`, [end - start, columns]];
      this.pieces.set(name, { spec, start, end });
      return { storage, stored: this.#inputs(name, storage.types(shape)), shape, isFrozen };
    });
  }

  /** The graph inputs that hold a parameter. */
  #stored(spec: ParameterSpec): StoredTensors<Value> {
    const { prefix, shared } = this.#options;
    const local = shared?.inputName(spec.name) ?? (spec.name.startsWith(prefix) ? spec.name.slice(prefix.length) : spec.name);
    const known = this.parameters.get(local);
    if (known && known.name !== spec.name) throw new ShapeError(`parameters ${spec.name} and ${known.name} share the local name ${local}.`);
    this.parameters.set(local, spec);
    return this.#inputs(local, this.#options.storageOf(spec.name).types(spec.shape));
  }

  /** A graph input for each tensor; one that is there already is read again. */
  #inputs(local: string, { tensor, companions = {} }: StoredTensors<TensorType>): StoredTensors<Value> {
    const input = (name: string, type: TensorType): Value => this.graph.inputs.get(name) ?? this.graph.input(name, type);
    return {
      tensor: input(local, tensor),
      companions: Object.fromEntries(Object.entries(companions).map(([end, type]) => [end, input(companionName(local, end), type)])),
    };
  }

  /** y = x W^T + b, through the hooks. @param name module name inside this segment, for example `self_attn.q_proj` */
  linear({ name, input: given, outFeatures, bias = false, layout = "out-in", bare }: LinearOptions): Value {
    const module = this.nameOf(name);
    const input = this.#options.hooks.reduce((current, hooks) => hooks.linearInput?.({ module, input: current }, this) ?? current, given);
    const inFeatures = Number(input.shape.at(-1));
    const shape = layout === "out-in" ? [outFeatures, inFeatures] : [inFeatures, outFeatures];
    const weight: ParameterSpec = { name: `${module}.weight`, shape, kind: "weight" };
    const biasSpec: ParameterSpec | undefined = bias ? { name: `${module}.bias`, shape: [outFeatures], kind: "bias" } : undefined;
    let output = this.product(input, weight, layout);
    if (biasSpec) output = add(output, this.parameter(biasSpec));
    const call = {
      module,
      input,
      inFeatures,
      outFeatures,
      layout,
      ...(bare && { bare: { ...bare, parameter: this.nameOf(bare.parameter) } }),
      weight,
      bias: biasSpec,
    };
    for (const hooks of this.#options.hooks) output = hooks.linear?.({ ...call, output }, this) ?? output;
    return output;
  }

  /** x [..., in] times a weight, or a table [rows, in], as it is held: [..., out]. */
  product(x: Value, weight: ParameterSpec, layout: LinearLayout = "out-in"): Value {
    const value = this.parameter(weight);
    return this.#heldIn(weight)?.product?.(x, this.#stored(weight)) ?? matmul(x, value, { transposeB: layout === "out-in" });
  }

  /** Hidden states as products with a table read them. */
  asRead(x: Value, table: ParameterSpec): Value {
    return this.#heldIn(table)?.vocabulary?.asRead(x) ?? x;
  }

  /** How a parameter is held, if no method changes it. */
  #heldIn(spec: ParameterSpec): ParameterStorage | undefined {
    return this.parameter(spec) === this.#decoded.get(spec.name) ? this.#options.storageOf(spec.name) : undefined;
  }

  /** What methods put in front of this layer's keys and values. */
  get past(): KeyValues | undefined {
    return this.#options.hooks.find((hooks) => hooks.past)?.past?.(this);
  }

  embedded(value: Value): Value {
    return this.#options.hooks.reduce((current, hooks) => hooks.embedding?.(current, this) ?? current, value);
  }

  residual(branch: Value, place: ResidualPlace): Value {
    return this.#options.hooks.reduce((current, hooks) => hooks.residual?.(current, this, place) ?? current, branch);
  }

  routed(call: RoutedCall): void {
    for (const hooks of this.#options.hooks) hooks.routed?.(call, this);
  }

  /** Uniform noise in [0, 1) of a value's shape; every use in a segment has its own stream, every step its own seed. */
  uniformLike(value: Value): Value {
    this.#seed ??= this.graph.input("seed", { dtype: "int64", shape: [] });
    const stream = add(this.#seed, constant(this.graph, 7919 * ++this.#randomUses, "int64"));
    return randomUniform(stream, value.shape);
  }

  /** Inverted dropout with probability p: kept values are divided by 1 - p. Nothing outside training. */
  dropout(value: Value, p: number): Value {
    if (p <= 0 || !this.#options.isTraining) return value;
    const kept = greaterOrEqual(this.uniformLike(value), constant(this.graph, p));
    return where(kept, mul(value, 1 / (1 - p)), constant(this.graph, 0));
  }
}

export interface LinearOptions {
  readonly name: string;
  readonly input: Value;
  readonly outFeatures: number;
  readonly bias?: boolean;
  readonly layout?: LinearLayout;
  /** With the parameter's path inside this segment. */
  readonly bare?: BareWeight;
}
