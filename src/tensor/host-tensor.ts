/** Tensors in host memory: what weights are read into and graphs are fed with. */
import type { DType } from "./dtype.ts";

/** A dense tensor, row-major. float16 and bfloat16 are held as their bits. */
export interface HostTensor {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly data: Float32Array | Uint16Array | BigInt64Array | Int32Array | Uint8Array | Int8Array;
}
