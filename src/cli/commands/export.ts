/** tunesmith export: a run's adapter for Python PEFT, the merged model for transformers or as ONNX, or the base out of a merged model. */
import { join } from "node:path";
import { ConfigError } from "../../base/errors.ts";
import type { FileContent } from "../../base/folder-shelf.ts";
import { encodeAdapter, unmergedParameter } from "../../execution/weights/adapter-files.ts";
import { mergedCheckpointFiles } from "../../export/merged-checkpoint.ts";
import { type OnnxWeightType, onnxFiles } from "../../export/onnx/onnx-files.ts";
import { isFolder, openFolder, writeFileAtomic } from "../../platform/node/files.ts";
import type { Command } from "../command.ts";
import { openChosenModel } from "../load-run.ts";

const formats = ["merged", "peft", "onnx", "unmerged"];
const weightTypes = ["float32", "float16"] as const satisfies readonly OnnxWeightType[];

interface Options {
  readonly adapter?: string;
  readonly format: string;
  readonly dtype: string;
  readonly dequantize: boolean;
}

export const exportCommand = {
  name: "export",
  summary: "write a PEFT adapter folder, a merged Hugging Face folder, or ONNX files",
  define(command, { print }) {
    command
      .argument("<run>", "run folder, or checkpoint folder with --adapter")
      .argument("<folder>", "where to write")
      .option("--adapter <folder>", "PEFT adapter to put on the model")
      .option(
        "--format <name>",
        "merged (Hugging Face folder), peft (adapter folder), onnx (for onnxruntime and transformers.js), or unmerged (the base out of a merged model)",
        "merged",
      )
      .option("--dtype <type>", `weights of an ONNX file: ${weightTypes.join(" or ")}`, "float32")
      .option("--dequantize", "fold an adapter into the rounded weights of a quantised base", false)
      .action(async (run: string, folder: string, { adapter, format, dtype, dequantize }: Options) => {
        if (!formats.includes(format)) throw new ConfigError(`--format ${format} is not known. Known: ${formats.join(", ")}.`);
        const weightType = weightTypes.find((known) => known === dtype);
        if (!weightType) throw new ConfigError(`--dtype ${dtype} is not known. Known: ${weightTypes.join(", ")}.`);
        if (format === "unmerged" && adapter === undefined)
          throw new ConfigError("--format unmerged needs a merged model folder, and with --adapter the adapter that is in it.");
        if (await isFolder(folder))
          throw new ConfigError(`${folder} exists already; choose another folder, so that nothing is overwritten.`);
        const { loaded, basePath, task } = await openChosenModel({ model: run, adapter, device: "cpu" });
        const base = openFolder(basePath);
        const labels = task?.configFields;
        const writers: Record<string, () => Promise<Record<string, FileContent>>> = {
          peft: async () => encodeAdapter({ store: loaded.store, method: loaded.method, baseModel: basePath, base: loaded.base }),
          onnx: () => onnxFiles(loaded, base, { weightType, dequantize, labels }),
          merged: () => mergedCheckpointFiles(loaded, base, { labels, dequantize }),
          unmerged: () => mergedCheckpointFiles(loaded, base, { valuesOf: unmergedParameter, labels, dequantize }),
        };
        const files = await writers[format]!();
        for (const [file, content] of Object.entries(files)) await writeFileAtomic(join(folder, file), content);
        print(`${folder}: ${Object.keys(files).join(", ")}`);
      });
  },
} as const satisfies Command;
