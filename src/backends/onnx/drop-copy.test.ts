import { expect, it } from "vitest";
import { dropCopy } from "./drop-copy.ts";

it("takes the copy's memory away and leaves the original", () => {
  const [copy, original] = [Float32Array.of(1, 2), Float32Array.of(1, 2)];
  dropCopy(copy, original);
  expect(copy.length).toBe(0);
  expect([...original]).toEqual([1, 2]);
});

it("leaves a result that is the original", () => {
  const original = Float32Array.of(1, 2);
  dropCopy(original.subarray(1), original);
  expect([...original]).toEqual([1, 2]);
});

it.each([
  ["shared between threads", () => new Uint8Array(new SharedArrayBuffer(8))],
  ["of WebAssembly", () => new Uint8Array(new WebAssembly.Memory({ initial: 1 }).buffer)],
])("leaves memory %s, which cannot be given away", (_, make) => {
  const copy = make();
  dropCopy(copy, Float32Array.of(1));
  expect(copy.length).toBeGreaterThan(0);
});
