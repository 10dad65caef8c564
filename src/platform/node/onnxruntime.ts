/** Loads ONNX Runtime for Node. */
import { BackendError } from "../../base/errors.ts";

/** @throws BackendError if the native library cannot be loaded */
export async function loadOnnxRuntime(): Promise<typeof import("onnxruntime-node")> {
  try {
    const runtime = await import("onnxruntime-node");
    // Failures are thrown as errors; without this the library says them on stderr as well.
    runtime.env.logLevel = "fatal";
    return runtime;
  } catch (error) {
    throw new BackendError(
      `onnxruntime-node could not be loaded on ${process.platform}/${process.arch}: ${(error as Error).message}. Run npm ci again on this machine; on Linux, glibc 2.28 or newer is needed.`,
      { cause: error },
    );
  }
}
