/**
 * A graph that works element by element, as one loop in WebAssembly: every operand is read once and every result written once,
 * where a session passes over memory for each operation. Float32 arithmetic in the order of the graph, so that numbers are those of a session.
 */
import type { Graph, Node, Value } from "../../tensor/graph.ts";
import { showShape } from "../../tensor/shape.ts";
import type { Executable, HostTensor, Tensor } from "../backend.ts";
import { bindInputs, checkOutputs } from "../check-tensors.ts";
import { advance, f32, f32x4, i32, localGet, localSet, repeatWhile } from "./expressions.ts";
import { instructionsFor, maskToFloat32 } from "./instructions.ts";
import { type Bytes, moduleBytes, pageBytes, type WasmFunction } from "./module.ts";

/** Elements of each operand that are in the loop's memory at once: together they fit a core's second cache. */
const blockElements = 1 << 15;
const blockBytes = 4 * blockElements;

interface LoopExports {
  readonly memory: WebAssembly.Memory;
  /** @param bytes of each operand in the block, a multiple of 16 */
  run(bytes: number, ...scalars: number[]): void;
}

/**
 * Results may be written over operands: a block of all operands is read before any result of it is written.
 * @returns undefined if an operation is none of vectors, or shapes are not all equal or []
 */
export function compileElementLoop(graph: Graph, { name }: { readonly name: string }): Executable | undefined {
  const planned = plan(graph);
  if (!planned) return undefined;
  const { module, vectors, scalars, outputBlocks } = planned;
  const { memory, run } = new WebAssembly.Instance(new WebAssembly.Module(module)).exports as unknown as LoopExports;
  const block = (slot: number): Float32Array => new Float32Array(memory.buffer, slot * blockBytes, blockElements);
  const reads = vectors.map((input, slot) => ({ input, at: block(slot) }));
  const writes = [...graph.outputs.keys()].map((output, i) => ({ output, at: block(outputBlocks[i]!) }));

  return {
    async run(inputs, outputs = {}) {
      const bindings = bindInputs({ name, expected: graph.inputs, inputs });
      checkOutputs({ name, expected: graph.outputs, outputs, bindings });
      const { dims, data } = inputs[vectors[0]!] as HostTensor;
      const operands = reads.map(({ input, at }) => ({ from: floats(inputs[input]!), at }));
      const results = writes.map(({ output, at }) => {
        const tensor: HostTensor = outputs[output] ?? { dtype: "float32", dims, data: new Float32Array(data.length) };
        return { output, tensor, to: floats(tensor), at };
      });
      const numbers = scalars.map((scalar) => floats(inputs[scalar]!)[0]!);
      for (let start = 0; start < data.length; start += blockElements) {
        const end = Math.min(data.length, start + blockElements);
        for (const { from, at } of operands) at.set(from.subarray(start, end));
        run(16 * Math.ceil((end - start) / 4), ...numbers);
        for (const { to, at } of results) to.set(at.subarray(0, end - start), start);
      }
      return Object.fromEntries(results.map(({ output, tensor }) => [output, tensor]));
    },
    overwritesOperands: true,
    dispose: async () => {},
  };
}

const floats = (tensor: Tensor): Float32Array => (tensor as HostTensor).data as Float32Array;

interface Plan {
  readonly module: Uint8Array<ArrayBuffer>;
  /** Inputs with elements, in the order of their blocks. */
  readonly vectors: readonly string[];
  /** Results that have an operand's name are written over it. */
  readonly outputBlocks: readonly number[];
  /** Inputs of shape [], in the order of the function's parameters. */
  readonly scalars: readonly string[];
}

function plan(graph: Graph): Plan | undefined {
  const isScalar = ({ shape }: Value): boolean => shape.length === 0;
  const vectors = [...graph.inputs].filter(([, value]) => !isScalar(value));
  const scalars = [...graph.inputs].filter(([, value]) => isScalar(value));
  const shape = vectors[0] && showShape(vectors[0][1].shape);
  const values = [...graph.inputs.values(), ...graph.nodes.flatMap(({ outputs }) => outputs)];
  const fits =
    values.every((value) => isScalar(value) || showShape(value.shape) === shape) &&
    [...graph.inputs.values(), ...graph.outputs.values()].every(({ dtype }) => dtype === "float32") &&
    ![...graph.outputs.values()].some(isScalar);
  if (!shape || !fits) return undefined;

  const [bytes, offset] = [0, 1 + scalars.length];
  const local = new Map(values.map((value, i) => [value, offset + 1 + i]));
  const operands = ({ inputs }: Node): Bytes[] => inputs.map((value) => localGet(local.get(value)!));
  const before: number[] = [];
  const inside: number[] = [];
  for (const [i, [, value]] of scalars.entries()) before.push(...f32x4.splat(localGet(1 + i)), ...localSet(local.get(value)!));
  for (const [i, [, value]] of vectors.entries())
    inside.push(...f32x4.load(localGet(offset), i * blockBytes), ...localSet(local.get(value)!));
  for (const node of graph.nodes) {
    const result = node.outputs[0]!;
    const instructions = instructionsOf(node, operands(node));
    if (!instructions) return undefined;
    // What depends on scalars alone is made once, in front of the loop.
    (isScalar(result) ? before : inside).push(...instructions, ...localSet(local.get(result)!));
  }
  const blocks = vectors.map(([input]) => input);
  const outputBlocks = [...graph.outputs].map(([output, value]) => {
    if (!blocks.includes(output)) blocks.push(output);
    const at = blocks.indexOf(output);
    inside.push(...f32x4.store(localGet(offset), localGet(local.get(value)!), at * blockBytes));
    return at;
  });

  const run: WasmFunction = {
    parameters: ["i32", ...scalars.map(() => "f32" as const)],
    locals: [
      { type: "i32", count: 1 },
      { type: "v128", count: values.length },
    ],
    body: [...before, ...repeatWhile([inside, advance(offset, 16)], i32.less(localGet(offset), localGet(bytes)))],
  };
  const module = moduleBytes({
    functions: { run },
    memoryPages: Math.ceil((blocks.length * blockBytes) / pageBytes),
  });
  return { module, vectors: vectors.map(([input]) => input), scalars: scalars.map(([input]) => input), outputBlocks };
}

function instructionsOf({ op, inputs, attributes }: Node, operands: readonly Bytes[]): number[] | undefined {
  if (op.name === "constant") return attributes.dtype === "float32" ? f32x4.splat(f32.constant(attributes.value as number)) : undefined;
  if (op.name === "cast") return inputs[0]!.dtype === "bool" && attributes.dtype === "float32" ? maskToFloat32(operands[0]!) : undefined;
  return instructionsFor(op.name, operands);
}
