import { expect, it } from "vitest";
import { giveBack } from "./give-back.ts";

it("takes an array's memory away", () => {
  const array = new Float32Array(2 ** 18);
  giveBack(array);
  expect(array.length).toBe(0);
});

it("leaves small arrays to the collector", () => {
  const array = Float32Array.of(1, 2);
  giveBack(array);
  expect([...array]).toEqual([1, 2]);
});

it.each([
  ["shared between threads", () => new Uint8Array(new SharedArrayBuffer(2 ** 20))],
  ["of WebAssembly", () => new Uint8Array(new WebAssembly.Memory({ initial: 16 }).buffer)],
])("leaves memory %s, which cannot be given away", (_, make) => {
  const array = make();
  giveBack(array);
  expect(array.length).toBeGreaterThan(0);
});
