/**
 * A graph that works element by element, as one loop in WebAssembly: every operand is read once and every result written once,
 * where a session passes over memory for each operation. Operands and results of one `VectorMemory` are worked on where they lie.
 * Float32 arithmetic in the order of the graph, so that numbers are those of a session.
 */
import type { Graph, Node, Value } from "../../tensor/graph.ts";
import { showShape } from "../../tensor/shape.ts";
import type { Executable, HostTensor, Tensor } from "../backend.ts";
import { bindInputs, checkOutputs } from "../check-tensors.ts";
import { advance, f32, f32x4, i32, localGet, localSet, repeatWhile } from "./expressions.ts";
import { instructionsFor, maskToFloat32 } from "./instructions.ts";
import { type Bytes, compileFunctions, memoryOfBytes, type WasmFunction } from "./module.ts";
import { memoryOf } from "./vector-memory.ts";

/** Elements of each operand that are in the loop's memory at once: together they fit a core's second cache. */
const blockElements = 1 << 15;
const blockBytes = 4 * blockElements;

interface Loop {
  /**
   * @param bytes of each vector, a multiple of 16
   * @param rest addresses of the operands, then of the results, then scalars
   */
  run(bytes: number, ...rest: number[]): void;
}

/**
 * A result may be written over an operand, element over element: those of a place are read before any result is written there.
 * @returns undefined if an operation is none of vectors, or shapes are not all equal or []
 */
export function compileElementLoop(graph: Graph, { name }: { readonly name: string }): Executable | undefined {
  const planned = plan(graph);
  if (!planned) return undefined;
  const { loopOn, vectors, scalars, outputBlocks } = planned;
  const blockCount = Math.max(vectors.length, ...outputBlocks.map((slot) => slot + 1));
  const blocks = memoryOfBytes(blockCount * blockBytes);
  const addresses = [...vectors.keys(), ...outputBlocks].map((slot) => slot * blockBytes);
  const blockAt = addresses.map((address) => new Float32Array(blocks.buffer, address, blockElements));

  return {
    async run(inputs, outputs = {}) {
      const bindings = bindInputs({ name, expected: graph.inputs, inputs });
      checkOutputs({ name, expected: graph.outputs, outputs, bindings });
      const { dims, data } = inputs[vectors[0]!] as HostTensor;
      const operands = vectors.map((input) => floats(inputs[input]!));
      const made = (): HostTensor => ({ dtype: "float32", dims, data: new Float32Array(data.length) });
      const results = [...graph.outputs.keys()].map((output) => [output, outputs[output] ?? made()] as const);
      const arrays = [...operands, ...results.map(([, tensor]) => floats(tensor))];
      const numbers = scalars.map((scalar) => floats(inputs[scalar]!)[0]!);

      const memory = memoryOf(arrays);
      const inPlace = memory ? data.length - (data.length % 4) : 0;
      if (memory && inPlace > 0) loopOn(memory).run(4 * inPlace, ...arrays.map(({ byteOffset }) => byteOffset), ...numbers);
      for (let start = inPlace; start < data.length; start += blockElements) {
        const end = Math.min(data.length, start + blockElements);
        for (const [i, operand] of operands.entries()) blockAt[i]!.set(operand.subarray(start, end));
        loopOn(blocks).run(16 * Math.ceil((end - start) / 4), ...addresses, ...numbers);
        for (let i = operands.length; i < arrays.length; i++) arrays[i]!.set(blockAt[i]!.subarray(0, end - start), start);
      }
      return Object.fromEntries(results);
    },
    overwritesOperands: true,
    dispose: async () => {},
  };
}

const floats = (tensor: Tensor): Float32Array => (tensor as HostTensor).data as Float32Array;

interface Plan {
  loopOn(memory: WebAssembly.Memory): Loop;
  /** Inputs with elements, in the order of their blocks. */
  readonly vectors: readonly string[];
  /** Where a result goes in a block: over the operand that has its name. */
  readonly outputBlocks: readonly number[];
  /** Inputs of shape [], in the order of the function's parameters. */
  readonly scalars: readonly string[];
}

function plan(graph: Graph): Plan | undefined {
  const isScalar = ({ shape }: Value): boolean => shape.length === 0;
  const vectors = [...graph.inputs].filter(([, value]) => !isScalar(value));
  const scalars = [...graph.inputs].filter(([, value]) => isScalar(value));
  const results = [...graph.outputs];
  const shape = vectors[0] && showShape(vectors[0][1].shape);
  const values = [...graph.inputs.values(), ...graph.nodes.flatMap(({ outputs }) => outputs)];
  const fits =
    values.every((value) => isScalar(value) || showShape(value.shape) === shape) &&
    [...graph.inputs.values(), ...graph.outputs.values()].every(({ dtype }) => dtype === "float32") &&
    ![...graph.outputs.values()].some(isScalar);
  if (!shape || !fits) return undefined;

  const [bytes, firstOperand] = [0, 1];
  const firstResult = firstOperand + vectors.length;
  const firstScalar = firstResult + results.length;
  const offset = firstScalar + scalars.length;
  const local = new Map(values.map((value, i) => [value, offset + 1 + i]));
  const addressIn = (base: number): Bytes => i32.add(localGet(base), localGet(offset));
  const operands = ({ inputs }: Node): Bytes[] => inputs.map((value) => localGet(local.get(value)!));
  const before: number[] = [];
  const inside: number[] = [];
  for (const [i, [, value]] of scalars.entries()) before.push(...f32x4.splat(localGet(firstScalar + i)), ...localSet(local.get(value)!));
  for (const [i, [, value]] of vectors.entries()) inside.push(...f32x4.load(addressIn(firstOperand + i)), ...localSet(local.get(value)!));
  for (const node of graph.nodes) {
    const result = node.outputs[0]!;
    const instructions = instructionsOf(node, operands(node));
    if (!instructions) return undefined;
    // What depends on scalars alone is made once, in front of the loop.
    (isScalar(result) ? before : inside).push(...instructions, ...localSet(local.get(result)!));
  }
  for (const [i, [, value]] of results.entries()) inside.push(...f32x4.store(addressIn(firstResult + i), localGet(local.get(value)!)));

  const run: WasmFunction = {
    parameters: [...["bytes", ...vectors, ...results].map(() => "i32" as const), ...scalars.map(() => "f32" as const)],
    locals: [
      { type: "i32", count: 1 },
      { type: "v128", count: values.length },
    ],
    body: [...before, ...repeatWhile([inside, advance(offset, 16)], i32.less(localGet(offset), localGet(bytes)))],
  };
  const blocks = vectors.map(([input]) => input);
  const outputBlocks = results.map(([output]) => (blocks.includes(output) ? blocks.indexOf(output) : blocks.push(output) - 1));
  return {
    loopOn: compileFunctions<Loop>({ run }),
    vectors: vectors.map(([input]) => input),
    scalars: scalars.map(([input]) => input),
    outputBlocks,
  };
}

function instructionsOf({ op, inputs, attributes }: Node, operands: readonly Bytes[]): number[] | undefined {
  if (op.name === "constant") return attributes.dtype === "float32" ? f32x4.splat(f32.constant(attributes.value as number)) : undefined;
  if (op.name === "cast") return inputs[0]!.dtype === "bool" && attributes.dtype === "float32" ? maskToFloat32(operands[0]!) : undefined;
  return instructionsFor(op.name, operands);
}
