/** The binary format of WebAssembly, as far as functions over one memory need it. https://webassembly.github.io/spec/core/binary */

export type Bytes = readonly number[];

/** Of the host's pages. */
export const pageBytes = 65_536;

const valueType = { i32: 0x7f, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;

export interface WasmFunction {
  readonly parameters: readonly (keyof typeof valueType)[];
  /** Nothing where absent. */
  readonly result?: keyof typeof valueType;
  /** Local variables behind the parameters: how many of each type, in this order. */
  readonly locals: readonly { readonly type: keyof typeof valueType; readonly count: number }[];
  /** Instructions, without the `end` of the function. */
  readonly body: Bytes;
}

export const memoryOfBytes = (bytes: number): WebAssembly.Memory => new WebAssembly.Memory({ initial: Math.ceil(bytes / pageBytes) });

/** Functions under their names, for any memory; of each memory there is one instance. */
export function compileFunctions<Functions>(functions: Readonly<Record<string, WasmFunction>>): (memory: WebAssembly.Memory) => Functions {
  const module = new WebAssembly.Module(moduleBytes(functions));
  const instances = new WeakMap<WebAssembly.Memory, Functions>();
  return (memory) => {
    const known = instances.get(memory) ?? (new WebAssembly.Instance(module, { host: { memory } }).exports as Functions);
    instances.set(memory, known);
    return known;
  };
}

function moduleBytes(functions: Readonly<Record<string, WasmFunction>>): Uint8Array<ArrayBuffer> {
  const [names, all] = [Object.keys(functions), Object.values(functions)];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(
      1,
      all.map(({ parameters, result }) => [0x60, ...types(parameters), ...types(result ? [result] : [])]),
    ),
    ...section(2, [[...text("host"), ...text("memory"), 0x02, 0x00, 0x00]]),
    ...section(
      3,
      all.map((_, i) => unsigned(i)),
    ),
    ...section(
      7,
      names.map((name, i) => [...text(name), 0x00, ...unsigned(i)]),
    ),
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
const types = (all: readonly (keyof typeof valueType)[]): number[] => list(all.map((type) => [valueType[type]]));
const text = (name: string): number[] => list([...new TextEncoder().encode(name)].map((byte) => [byte]));

function section(id: number, items: readonly Bytes[]): number[] {
  const content = list(items);
  return [id, ...unsigned(content.length), ...content];
}
