/** The binary format of WebAssembly, as far as one function over one memory needs it. https://webassembly.github.io/spec/core/binary */

export type Bytes = readonly number[];

/** Of the host's pages. */
export const pageBytes = 65_536;

const valueType = { i32: 0x7f, f32: 0x7d, v128: 0x7b } as const;

export interface FunctionModule {
  readonly parameters: readonly (keyof typeof valueType)[];
  /** Local variables behind the parameters: how many of each type, in this order. */
  readonly locals: readonly { readonly type: keyof typeof valueType; readonly count: number }[];
  /** Instructions, without the `end` of the function. */
  readonly body: Bytes;
  readonly memoryPages: number;
}

/** A module that exports `memory` and the function `run`. */
export function moduleBytes({ parameters, locals, body, memoryPages }: FunctionModule): Uint8Array<ArrayBuffer> {
  const code = [...list(locals.map(({ type, count }) => [...unsigned(count), valueType[type]])), ...body, 0x0b];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, [[0x60, ...list(parameters.map((type) => [valueType[type]])), ...list([])]]),
    ...section(3, [[0]]),
    ...section(5, [[0x00, ...unsigned(memoryPages)]]),
    ...section(7, [
      [...text("memory"), 0x02, 0],
      [...text("run"), 0x00, 0],
    ]),
    ...section(10, [[...unsigned(code.length), ...code]]),
  ]);
}

/** LEB128. */
export function unsigned(value: number): number[] {
  const low = value % 128;
  return value < 128 ? [low] : [low | 0x80, ...unsigned(Math.floor(value / 128))];
}

export function float32Bytes(value: number): number[] {
  return [...new Uint8Array(new Float32Array([value]).buffer)];
}

const list = (items: readonly Bytes[]): number[] => [...unsigned(items.length), ...items.flat()];
const text = (name: string): number[] => list([...new TextEncoder().encode(name)].map((byte) => [byte]));

function section(id: number, items: readonly Bytes[]): number[] {
  const content = list(items);
  return [id, ...unsigned(content.length), ...content];
}
