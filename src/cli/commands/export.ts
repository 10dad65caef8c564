/** tunesmith export: a run's adapter for Python PEFT, the merged model for transformers, or the base out of a merged model. */
import { join } from "node:path";
import { ConfigError } from "../../base/errors.ts";
import { encodeAdapter, mergedParameter, unmergedParameter } from "../../execution/adapter-files.ts";
import { mergedCheckpointFiles } from "../../export/merged-checkpoint.ts";
import { isFolder, openFolder, writeFileAtomic } from "../../platform/node/files.ts";
import type { Command } from "../command.ts";
import { openChosenModel } from "../load-run.ts";

const formats = ["merged", "peft", "unmerged"];

export const exportCommand = {
  name: "export",
  summary: "write a PEFT adapter folder or a merged Hugging Face folder",
  define(command, { print }) {
    command
      .argument("<run>", "run folder, or checkpoint folder with --adapter")
      .argument("<folder>", "where to write")
      .option("--adapter <folder>", "PEFT adapter to put on the model")
      .option(
        "--format <name>",
        "merged (Hugging Face folder), peft (adapter folder), or unmerged (the base out of a merged model)",
        "merged",
      )
      .action(async (run: string, folder: string, { adapter, format }: { adapter?: string; format: string }) => {
        if (!formats.includes(format)) throw new ConfigError(`--format ${format} is not known. Known: ${formats.join(", ")}.`);
        if (format === "unmerged" && adapter === undefined)
          throw new ConfigError("--format unmerged needs a merged model folder, and with --adapter the adapter that is in it.");
        if (await isFolder(folder))
          throw new ConfigError(`${folder} exists already; choose another folder, so that nothing is overwritten.`);
        const { loaded, basePath } = await openChosenModel({ model: run, adapter, device: "cpu" });
        const files =
          format === "peft"
            ? encodeAdapter({ store: loaded.store, method: loaded.method, baseModel: basePath })
            : await mergedCheckpointFiles(loaded, openFolder(basePath), format === "merged" ? mergedParameter : unmergedParameter);
        for (const [file, content] of Object.entries(files)) await writeFileAtomic(join(folder, file), content);
        print(`${folder}: ${Object.keys(files).join(", ")}`);
      });
  },
} as const satisfies Command;
