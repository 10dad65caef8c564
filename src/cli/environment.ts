/** What Node gives a run: disks, processes, ONNX Runtime. */
import { createRequire } from "node:module";
import { availableParallelism, cpus, totalmem } from "node:os";
import { join } from "node:path";
import { createOnnxBackend } from "../backends/onnx/backend.ts";
import { tryDevice } from "../backends/onnx/list-devices.ts";
import { deviceNamed } from "../backends/registry.ts";
import { BackendError, CheckpointError } from "../base/errors.ts";
import { formatBytes } from "../base/units.ts";
import { readDatasetFiles } from "../platform/node/dataset-files.ts";
import { isFolder, openFolder } from "../platform/node/files.ts";
import { hashFile } from "../platform/node/folder-shelf.ts";
import { downloadModel, isHubName } from "../platform/node/hub.ts";
import { loadOnnxRuntime } from "../platform/node/onnxruntime.ts";
import { createQuantisedCache } from "../platform/node/quantised-cache.ts";
import { openRunFolder } from "../platform/node/run-folder.ts";
import type { RunEnvironment } from "../runs/environment.ts";

const require = createRequire(import.meta.url);
export const packageVersion = (name: string): string => (require(name) as { version: string }).version;
export const tunesmithVersion = packageVersion("../../package.json");

export const quantisedCache = createQuantisedCache({ onNotice: (message) => process.stderr.write(`${message}\n`) });

export function createNodeEnvironment(command: readonly string[]): RunEnvironment {
  return {
    command,
    openModelFolder: async (model) => openFolder(await resolveModelPath(model)),
    readDataset: readDatasetFiles,
    createBackend: (device) => createBackend(device),
    openRunFolder,
    describe: (device) => ({
      tunesmith: tunesmithVersion,
      node: process.version,
      onnxruntime: packageVersion("onnxruntime-node/package.json"),
      platform: `${process.platform}-${process.arch}`,
      processor: cpus()[0]?.model ?? "unknown",
      cores: availableParallelism(),
      memoryBytes: totalmem(),
      device,
    }),
    async hashModelFiles(folder) {
      const names = (await folder.list())
        .filter((name) =>
          /\.safetensors$|^config\.json$|^tokenizer\.(json|model)$|^spiece\.model$|^vocab\.(txt|json)$|^merges\.txt$/.test(name),
        )
        .sort();
      const hashed = [];
      for (const file of names)
        hashed.push({ file, sha256: await hashFile(join(folder.name, file)), bytes: (await folder.open(file)).size });
      return hashed;
    },
    quantisedCache,
    peakMemoryBytes: () => process.resourceUsage().maxRSS * 1024,
  };
}

/** A folder stays; a hub name is downloaded, with its progress on standard error. */
export async function resolveModelPath(model: string): Promise<string> {
  if (await isFolder(model)) return model;
  if (!isHubName(model))
    throw new CheckpointError(
      `${model} is not a folder, nor a hub name (org/model or org/model@revision). Name the folder of a Hugging Face checkpoint.`,
    );
  let shown = 0;
  return downloadModel(model, {
    onProgress({ file, receivedBytes, totalBytes }) {
      const done = receivedBytes >= totalBytes;
      if (!done && performance.now() - shown < 200) return;
      shown = performance.now();
      process.stderr.write(`\r\u001b[2K${file} ${formatBytes(receivedBytes)} of ${formatBytes(totalBytes)}${done ? "\n" : ""}`);
    },
  });
}

/** `auto` takes cuda where it works, else the processor. */
export async function createBackend(device: string) {
  const runtime = await loadOnnxRuntime();
  if (device === "cpu") return createOnnxBackend({ runtime, provider: "cpu" });
  if (device === "auto") return createOnnxBackend({ runtime, provider: (await tryDevice(runtime, "cuda")).available ? "cuda" : "cpu" });
  const { name } = deviceNamed(device);
  const { available, reason } = await tryDevice(runtime, name);
  if (!available)
    throw new BackendError(`device ${name} cannot be used here: ${reason}. "tunesmith doctor" lists what can; device: cpu always works.`);
  return createOnnxBackend({ runtime, provider: name });
}
