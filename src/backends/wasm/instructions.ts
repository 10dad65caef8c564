/** What primitive operations become on vectors of four float32. A bool is a mask: all bits of its lane, or none. */
import { type Bytes, float32Bytes, unsigned } from "./module.ts";

const simd = (opcode: number): number[] => [0xfd, ...unsigned(opcode)];

export const splat = simd(0x13);
export const load = (offset: number): number[] => [...simd(0x00), 4, ...unsigned(offset)];
export const store = (offset: number): number[] => [...simd(0x0b), 4, ...unsigned(offset)];
export const localGet = (local: number): number[] => [0x20, ...unsigned(local)];
export const localSet = (local: number): number[] => [0x21, ...unsigned(local)];
export const float32Splat = (value: number): number[] => [0x43, ...float32Bytes(value), ...splat];

/** Adds 16 to the i32 in `offset` and begins the loop again while it is below the i32 in `end`. */
export const nextVector = ({ offset, end }: { offset: number; end: number }): number[] => [
  ...[...localGet(offset), 0x41, 16, 0x6a, ...localSet(offset)],
  ...[...localGet(offset), ...localGet(end), 0x49, 0x0d, 0],
];
export const loop = (body: Bytes): number[] => [0x03, 0x40, ...body, 0x0b];

/** Instructions behind those that push the operands, in their order. */
const behindOperands: Readonly<Record<string, Bytes>> = {
  add: simd(0xe4),
  sub: simd(0xe5),
  mul: simd(0xe6),
  div: simd(0xe7),
  maximum: simd(0xe9),
  neg: simd(0xe1),
  sqrt: simd(0xe3),
  equal: simd(0x41),
  less: simd(0x43),
  greaterOrEqual: simd(0x46),
  logicalAnd: simd(0x4e),
  logicalOr: simd(0x50),
  stopGradient: [],
};

/** Pushes the result. @param operands instructions that push each; undefined where vectors have no such operation */
export function instructionsFor(op: string, operands: readonly Bytes[]): number[] | undefined {
  if (op === "where") return [...operands[1]!, ...operands[2]!, ...operands[0]!, ...simd(0x52)];
  if (op === "reciprocal") return [...float32Splat(1), ...operands[0]!, ...simd(0xe7)];
  const instruction = Object.hasOwn(behindOperands, op) ? behindOperands[op] : undefined;
  return instruction && [...operands.flat(), ...instruction];
}

/** Of a mask: 1 or 0. */
export const maskToFloat32 = (mask: Bytes): number[] => [...mask, ...float32Splat(1), ...simd(0x4e)];
