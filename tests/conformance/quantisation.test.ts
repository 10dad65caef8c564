/** Codes, scales and decoded numbers against bitsandbytes; the graph's decoding against the host's. */
import { readFileSync } from "node:fs";
import { describe, expect, it, test } from "vitest";
import { createDynamicMap } from "../../src/models/quantisation/dynamic-map.ts";
import { int8 } from "../../src/models/quantisation/int8.ts";
import { nf4 } from "../../src/models/quantisation/nf4.ts";
import type { LinearLayout } from "../../src/models/segment-builder.ts";
import { namedTensors, type ParameterStorage, type StoredTensors } from "../../src/models/storage.ts";
import { toFloat32 } from "../../src/models/weights/element-types.ts";
import { openSafetensors, readTensor } from "../../src/models/weights/safetensors.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { Graph } from "../../src/tensor/graph.ts";
import type { HostTensor } from "../../src/tensor/host-tensor.ts";
import { backend, reference } from "./tiny-model.ts";

const folder = `${reference}quantization`;
const { cases } = JSON.parse(readFileSync(`${folder}/cases.json`, "utf8")) as {
  cases: Record<string, { shape: [number, number]; blockSize: 32 | 64 | 128 | 256 }>;
};
const file = await openSafetensors(await openFolder(folder).open("weights.safetensors"));
const bytesOf = (name: string): Promise<Uint8Array> => readTensor(file, file.tensors.get(name)!);
const floatsOf = async (name: string): Promise<Float32Array> =>
  toFloat32({ name, dtype: file.tensors.get(name)!.dtype, bytes: await bytesOf(name) });

/** Decodes with a graph on the backend. */
async function decode(storage: ParameterStorage, stored: StoredTensors<HostTensor>, shape: readonly number[]): Promise<Float32Array> {
  const graph = new Graph();
  const { tensor, companions = {} } = storage.types(shape);
  const inputs = Object.entries(companions).map(([end, type]) => [end, graph.input(`weight.${end}`, type)] as const);
  graph.output("y", storage.decode({ tensor: graph.input("weight", tensor), companions: Object.fromEntries(inputs) }, shape));
  const executable = await backend.compile(graph);
  const { y } = await executable.run(namedTensors("weight", stored));
  await executable.dispose();
  return y!.data as Float32Array;
}

/** Numbers without the sign of zero. */
const numbers = (values: Float32Array): number[] => Array.from(values, (value) => value + 0);

/** A weight [out, in] as GPT-2 holds it. */
function turn(weight: Float32Array, [rows, columns]: readonly [number, number]): Float32Array {
  return Float32Array.from(weight, (_, i) => weight[(i % rows) * columns + Math.floor(i / rows)]!);
}

test("the dynamic map", async () => {
  expect([...createDynamicMap()]).toEqual([...(await floatsOf("dynamic_map"))]);
});

describe.each(Object.entries(cases))("%s", (name, { shape, blockSize }) => {
  it.each([false, true])("nf4, double quantisation %s", async (doubleQuantization) => {
    const storage = nf4.storage({ format: "nf4", doubleQuantization, blockSize }, "out-in");
    const stored = storage.quantise(await floatsOf(`${name}.weight`), shape);
    const prefix = `${name}.${doubleQuantization ? "nf4-double" : "nf4"}`;
    const codes = await bytesOf(`${prefix}.codes`);
    expect(Buffer.from(stored.tensor.data.slice(0, codes.length) as Uint8Array)).toEqual(Buffer.from(codes));
    const { absmax, nested_absmax, nested_offset } = stored.companions as Record<string, HostTensor>;
    if (doubleQuantization) {
      const expected = await bytesOf(`${prefix}.absmax`);
      expect(Buffer.from(absmax!.data.slice(0, expected.length) as Uint8Array)).toEqual(Buffer.from(expected));
      // The mean of the scales is a sum in another order; what follows from it is equal to the last digit or the one before.
      const [offset] = await floatsOf(`${prefix}.nested_offset`);
      expect(Math.abs((nested_offset!.data[0] as number) / offset! - 1)).toBeLessThan(2 ** -22);
      (await floatsOf(`${prefix}.nested_absmax`)).forEach((value, i) =>
        expect(Math.abs((nested_absmax!.data[i] as number) - value)).toBeLessThan(2 ** -22 * (offset! + value)),
      );
    } else expect([...(absmax!.data as Float32Array)]).toEqual([...(await floatsOf(`${prefix}.absmax`))]);
    const decoded = storage.read(stored, shape);
    if (file.tensors.has(`${prefix}.decoded`)) {
      const expected = await floatsOf(`${prefix}.decoded`);
      const largest = Math.max(...expected.map(Math.abs));
      expected.forEach((value, i) => expect(Math.abs(decoded[i]! - value)).toBeLessThanOrEqual(doubleQuantization ? 2e-7 * largest : 0));
    }
    expect(numbers(await decode(storage, stored, shape))).toEqual(numbers(decoded));
  });

  it("int8", async () => {
    const storage = int8.storage({ format: "int8" }, "out-in");
    const stored = storage.quantise(await floatsOf(`${name}.weight`), shape);
    const expected = await bytesOf(`${name}.int8.codes`);
    expect(Buffer.from((stored.tensor.data as Int8Array).buffer)).toEqual(Buffer.from(expected));
    expect([...(stored.companions!.SCB!.data as Float32Array)]).toEqual([...(await floatsOf(`${name}.int8.SCB`))]);
    const decoded = storage.read(stored, shape);
    if (file.tensors.has(`${name}.int8.decoded`)) {
      const values = await floatsOf(`${name}.int8.decoded`);
      values.forEach((value, i) => expect(Math.abs(decoded[i]! - value)).toBeLessThanOrEqual(2e-7 * Math.abs(value)));
    }
    expect(numbers(await decode(storage, stored, shape))).toEqual(numbers(decoded));
  });

  it.each([
    ["nf4", (layout: LinearLayout) => nf4.storage({ format: "nf4", doubleQuantization: true, blockSize }, layout)],
    ["int8", (layout: LinearLayout) => int8.storage({ format: "int8" }, layout)],
  ])("%s of a weight in GPT-2's layout is that of the turned weight", async (_, storageOf) => {
    const [weight, turnedShape] = [await floatsOf(`${name}.weight`), [shape[1], shape[0]]];
    const stored = storageOf("in-out").quantise(turn(weight, shape), turnedShape);
    expect(stored).toEqual(storageOf("out-in").quantise(weight, shape));
    expect(numbers(await decode(storageOf("in-out"), stored, turnedShape))).toEqual(numbers(storageOf("in-out").read(stored, turnedShape)));
  });
});

it.each([Number.NaN, Number.POSITIVE_INFINITY])("refuses %d", (value) => {
  const weight = new Float32Array(64).fill(0.5);
  weight[7] = value;
  for (const storage of [
    nf4.storage({ format: "nf4", doubleQuantization: true, blockSize: 64 }, "out-in"),
    int8.storage({ format: "int8" }, "out-in"),
  ])
    expect(() => storage.quantise(weight, [2, 32])).toThrow("has no code");
});
