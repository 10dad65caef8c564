/** Whether a run can have the precision that it asks for. */
import type { Backend } from "../backends/backend.ts";
import { whyNoFloat16 } from "../backends/trials.ts";
import { ConfigError } from "../base/errors.ts";
import type { RunConfig } from "./config.ts";

/** @throws ConfigError if the device does not compute in float16 and the run wants that */
export async function checkPrecision({ training }: Pick<RunConfig, "training">, backend: Backend): Promise<void> {
  if (training.precision !== "float16") return;
  const why = await whyNoFloat16(backend);
  if (why)
    throw new ConfigError([
      `training.precision: float16 needs a device that computes in it: webgpu on an adapter with shader-f16, or cuda. The device ${backend.name} does not: ${why}. Leave training.precision out, or name another device (tunesmith doctor lists them). Weights keep the checkpoint's type in memory either way.`,
    ]);
}
