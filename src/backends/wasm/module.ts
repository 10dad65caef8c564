/** The binary format of WebAssembly, as far as functions over one memory need it. https://webassembly.github.io/spec/core/binary */

export type Bytes = readonly number[];

/** Of the host's pages. */
export const pageBytes = 65_536;

const valueType = { i32: 0x7f, f32: 0x7d, v128: 0x7b } as const;

export interface WasmFunction {
  readonly parameters: readonly (keyof typeof valueType)[];
  /** Local variables behind the parameters: how many of each type, in this order. */
  readonly locals: readonly { readonly type: keyof typeof valueType; readonly count: number }[];
  /** Instructions, without the `end` of the function. */
  readonly body: Bytes;
}

export interface WasmModule {
  /** Exported under their names; they return nothing. */
  readonly functions: Readonly<Record<string, WasmFunction>>;
  readonly memoryPages: number;
}

/** A module that exports its functions and `memory`. */
export function moduleBytes({ functions, memoryPages }: WasmModule): Uint8Array<ArrayBuffer> {
  const [names, all] = [Object.keys(functions), Object.values(functions)];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(
      1,
      all.map(({ parameters }) => [0x60, ...list(parameters.map((type) => [valueType[type]])), ...list([])]),
    ),
    ...section(
      3,
      all.map((_, i) => unsigned(i)),
    ),
    ...section(5, [[0x00, ...unsigned(memoryPages)]]),
    ...section(7, [[...text("memory"), 0x02, 0], ...names.map((name, i) => [...text(name), 0x00, ...unsigned(i)])]),
    ...section(10, all.map(codeOf)),
  ]);
}

function codeOf({ locals, body }: WasmFunction): Bytes {
  const code = [...list(locals.map(({ type, count }) => [...unsigned(count), valueType[type]])), ...body, 0x0b];
  return [...unsigned(code.length), ...code];
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
