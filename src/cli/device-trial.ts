/** Prints as JSON which devices work. A process of its own, since drivers write to standard error and may end it. */
import { listDevices } from "../backends/onnx/list-devices.ts";
import { loadOnnxRuntime } from "../platform/node/onnxruntime.ts";

console.log(JSON.stringify(await listDevices(await loadOnnxRuntime())));
