/** Element types of tensors. Names are ONNX's and numpy's. */
export type DType = "float32" | "float16" | "bfloat16" | "int64" | "int32" | "int8" | "uint8" | "bool";

export const bytesPerElement: Record<DType, number> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int64: 8,
  int32: 4,
  int8: 1,
  uint8: 1,
  bool: 1,
};

export const isFloat = (dtype: DType): boolean => dtype === "float32" || dtype === "float16" || dtype === "bfloat16";
