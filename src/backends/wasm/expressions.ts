/** Instructions behind those that push their operands, by type, so that code reads as expressions. */
import { type Bytes, float32Bytes, unsigned } from "./module.ts";

const of = (opcode: Bytes, ...operands: readonly Bytes[]): number[] => [...operands.flat(), ...opcode];
const simd = (opcode: number, ...immediates: number[]): number[] => [0xfd, ...unsigned(opcode), ...immediates];
/** @param alignment as a power of two */
const at = (alignment: number, offset: number): number[] => [alignment, ...unsigned(offset)];

export const localGet = (local: number): number[] => [0x20, ...unsigned(local)];
export const localSet = (local: number): number[] => [0x21, ...unsigned(local)];

/** Integers and addresses, all unsigned. An access is at `address` + `offset`. */
export const i32 = {
  constant: (value: number): number[] => [0x41, ...signed(value)],
  add: (a: Bytes, b: Bytes): number[] => of([0x6a], a, b),
  less: (a: Bytes, b: Bytes): number[] => of([0x49], a, b),
  shiftLeft: (a: Bytes, bits: number): number[] => of([0x74], a, i32.constant(bits)),
  loadByte: (address: Bytes, offset: number): number[] => of([0x2d, ...at(0, offset)], address),
};

export const f32 = {
  constant: (value: number): number[] => [0x43, ...float32Bytes(value)],
  div: (a: Bytes, b: Bytes): number[] => of([0x95], a, b),
  max: (a: Bytes, b: Bytes): number[] => of([0x97], a, b),
  greater: (a: Bytes, b: Bytes): number[] => of([0x5e], a, b),
  load: (address: Bytes, offset: number): number[] => of([0x2a, ...at(2, offset)], address),
  store: (address: Bytes, offset: number, value: Bytes): number[] => of([0x38, ...at(2, offset)], address, value),
};

/** `a` where the condition holds, else `b`; both are made. */
export const choose = (condition: Bytes, a: Bytes, b: Bytes): number[] => of([0x1b], a, b, condition);

export const i32x4 = {
  splat: (value: Bytes): number[] => of(simd(0x11), value),
  lane: (vector: Bytes, lane: number): number[] => of(simd(0x1b, lane), vector),
  shiftLeft: (a: Bytes, bits: number): number[] => of(simd(0xab), a, i32.constant(bits)),
  shiftRight: (a: Bytes, bits: number): number[] => of(simd(0xad), a, i32.constant(bits)),
  /** All bits of a lane whose number is negative, or none. */
  signs: (a: Bytes): number[] => of(simd(0xac), a, i32.constant(31)),
  add: (a: Bytes, b: Bytes): number[] => of(simd(0xae), a, b),
  min: (a: Bytes, b: Bytes): number[] => of(simd(0xb7), a, b),
  max: (a: Bytes, b: Bytes): number[] => of(simd(0xb9), a, b),
};

/** Vectors of any type, bit by bit. */
export const v128 = {
  and: (a: Bytes, b: Bytes): number[] => of(simd(0x4e), a, b),
  or: (a: Bytes, b: Bytes): number[] => of(simd(0x50), a, b),
  xor: (a: Bytes, b: Bytes): number[] => of(simd(0x51), a, b),
  /** `a` where the bits of the mask are set, else `b`. */
  choose: (mask: Bytes, a: Bytes, b: Bytes): number[] => of(simd(0x52), a, b, mask),
  /** Sixteen of the bytes of both, those of `b` counted from 16 on. */
  pickBytes: (a: Bytes, b: Bytes, places: readonly number[]): number[] => of(simd(0x0d, ...places), a, b),
  /** The first eight bytes. */
  storeHalf: (address: Bytes, value: Bytes, offset = 0): number[] => of(simd(0x5b, ...at(0, offset), 0), address, value),
};

export const f32x4 = {
  splat: (value: Bytes): number[] => of(simd(0x13), value),
  lane: (vector: Bytes, lane: number): number[] => of(simd(0x1f, lane), vector),
  abs: (a: Bytes): number[] => of(simd(0xe0), a),
  neg: (a: Bytes): number[] => of(simd(0xe1), a),
  sqrt: (a: Bytes): number[] => of(simd(0xe3), a),
  add: (a: Bytes, b: Bytes): number[] => of(simd(0xe4), a, b),
  sub: (a: Bytes, b: Bytes): number[] => of(simd(0xe5), a, b),
  mul: (a: Bytes, b: Bytes): number[] => of(simd(0xe6), a, b),
  div: (a: Bytes, b: Bytes): number[] => of(simd(0xe7), a, b),
  /** What is no number in either stays none. */
  max: (a: Bytes, b: Bytes): number[] => of(simd(0xe9), a, b),
  equal: (a: Bytes, b: Bytes): number[] => of(simd(0x41), a, b),
  less: (a: Bytes, b: Bytes): number[] => of(simd(0x43), a, b),
  greaterOrEqual: (a: Bytes, b: Bytes): number[] => of(simd(0x46), a, b),
  /** `b` where it is greater, else `a`: what is no number in `b` is passed over. */
  greaterOf: (a: Bytes, b: Bytes): number[] => of(simd(0xeb), a, b),
  load: (address: Bytes, offset = 0): number[] => of(simd(0x00, ...at(4, offset)), address),
  store: (address: Bytes, value: Bytes, offset = 0): number[] => of(simd(0x0b, ...at(4, offset)), address, value),
  /** Four numbers from four addresses. */
  gather: (addresses: readonly Bytes[], offset: number): number[] =>
    addresses.reduce<number[]>(
      (vector, address, lane) =>
        lane === 0 ? of(simd(0x5c, ...at(2, offset)), address) : of(simd(0x56, ...at(2, offset), lane), address, vector),
      [],
    ),
};

export const f64x2 = {
  add: (a: Bytes, b: Bytes): number[] => of(simd(0xf0), a, b),
  mul: (a: Bytes, b: Bytes): number[] => of(simd(0xf2), a, b),
  /** Two float32, as doubles. */
  promoteTwo: (address: Bytes, offset = 0): number[] => of(simd(0x5f), of(simd(0x5d, ...at(3, offset)), address)),
  lane: (vector: Bytes, lane: number): number[] => of(simd(0x21, lane), vector),
};

export const f64 = {
  add: (a: Bytes, b: Bytes): number[] => of([0xa0], a, b),
};

/** Adds to the i32 in a local. */
export const advance = (local: number, by: number): number[] => [...i32.add(localGet(local), i32.constant(by)), ...localSet(local)];

/** Repeats its body while the condition at its end holds. */
export const repeatWhile = (body: readonly Bytes[], condition: Bytes): number[] => [
  0x03,
  0x40,
  ...body.flat(),
  ...condition,
  0x0d,
  0,
  0x0b,
];

/** LEB128 of an int32. */
function signed(value: number): number[] {
  const [low, rest] = [value & 0x7f, value >> 7];
  const isLast = (rest === 0 && low < 0x40) || (rest === -1 && low >= 0x40);
  return isLast ? [low] : [low | 0x80, ...signed(rest)];
}
