/** tunesmith doctor: what this machine offers, and what is missing. */
import { execFile } from "node:child_process";
import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { DeviceReport } from "../../backends/onnx/list-devices.ts";
import { BackendError } from "../../base/errors.ts";
import { formatBytes } from "../../base/units.ts";
import type { Command } from "../command.ts";
import { packageVersion, tunesmithVersion } from "../environment.ts";

export const doctor = {
  name: "doctor",
  summary: "devices, memory and versions of this machine",
  define(command, { print }) {
    command.option("--json", "print JSON", false).action(async ({ json }: { json: boolean }) => {
      const devices = await tryDevices();
      const facts = {
        tunesmith: tunesmithVersion,
        node: process.version,
        onnxruntime: packageVersion("onnxruntime-node/package.json"),
        platform: `${process.platform}-${process.arch}`,
        processor: `${cpus()[0]?.model ?? "unknown"}, ${availableParallelism()} cores`,
        memory: `${formatBytes(freemem())} free of ${formatBytes(totalmem())}`,
      };
      if (json) {
        print(JSON.stringify({ ...facts, devices }, null, 2));
        return;
      }
      for (const [name, value] of Object.entries(facts)) print(`${name.padEnd(12)} ${value}`);
      for (const { name, available, reason, computesInt8 } of devices) {
        const integers =
          computesInt8 === undefined ? "" : `; 8-bit integers ${computesInt8 ? "ready" : "not exact: no quantization.compute: int8"}`;
        print(`${`device ${name}`.padEnd(15)}${available ? `ready${integers}` : `not available: ${reason}`}`);
      }
    });
  },
} as const satisfies Command;

/** @throws BackendError if a driver ends the trial */
async function tryDevices(): Promise<DeviceReport[]> {
  const trial = fileURLToPath(new URL("../device-trial.js", import.meta.url));
  try {
    return JSON.parse((await promisify(execFile)(process.execPath, [trial])).stdout) as DeviceReport[];
  } catch (error) {
    const { signal, code, stderr } = error as { signal?: string | null; code?: number; stderr?: string };
    throw new BackendError(
      `the trial of the devices ended with ${signal ?? `code ${code}`}; a driver may be broken. Use device: cpu. It wrote: ${stderr?.trim() || "nothing"}`,
    );
  }
}
