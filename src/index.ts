/** The public names; re-exports only. The graph layer is public as tunesmith/tensor. */
export { createOnnxBackend } from "./backends/onnx/backend.ts";
export * from "./base/errors.ts";
export { prepareDataset } from "./data/dataset.ts";
export { loadTokenizer } from "./data/tokenizers/tokenizer.ts";
export { evaluateHeldOut } from "./evaluation/held-out.ts";
export { pairedBootstrap } from "./evaluation/paired-bootstrap.ts";
export { readAdapter } from "./execution/adapter-files.ts";
export { openModel } from "./execution/loaded-model.ts";
export { SegmentedTrainingEngine } from "./execution/training-engine.ts";
export { createDecoder } from "./generation/decoder.ts";
export { generate } from "./generation/generate.ts";
export { methods } from "./methods/registry.ts";
export { families } from "./models/families/registry.ts";
export { parseRunConfig, type RunConfig } from "./runs/config.ts";
export type { RunEnvironment } from "./runs/environment.ts";
export { runTraining } from "./runs/train-run.ts";
export { trainSupervised } from "./trainers/supervised.ts";
