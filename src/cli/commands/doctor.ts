/** tunesmith doctor: what this machine offers, and what is missing. */
import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import { listDevices } from "../../backends/onnx/list-devices.ts";
import { formatBytes } from "../../base/units.ts";
import { loadOnnxRuntime } from "../../platform/node/onnxruntime.ts";
import type { Command } from "../command.ts";
import { packageVersion, tunesmithVersion } from "../environment.ts";

export const doctor = {
  name: "doctor",
  summary: "devices, memory and versions of this machine",
  define(command, { print }) {
    command.option("--json", "print JSON", false).action(async ({ json }: { json: boolean }) => {
      const devices = await listDevices(await loadOnnxRuntime());
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
      for (const { name, available, reason } of devices)
        print(`${`device ${name}`.padEnd(15)}${available ? "ready" : `not available: ${reason}`}`);
    });
  },
} as const satisfies Command;
