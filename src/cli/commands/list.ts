/** tunesmith list: what there is, from the registries. */
import { devices } from "../../backends/registry.ts";
import { ConfigError } from "../../base/errors.ts";
import { nearestName } from "../../base/nearest-name.ts";
import { formats } from "../../data/formats/registry.ts";
import { taskMetrics } from "../../evaluation/task-metrics/registry.ts";
import { adapterMethods } from "../../export/merging/adapter-methods.ts";
import { combiners } from "../../export/merging/combiners/registry.ts";
import { methods } from "../../methods/registry.ts";
import { families } from "../../models/families/registry.ts";
import { quantisationFormats } from "../../models/quantisation/registry.ts";
import { objectives } from "../../objectives/registry.ts";
import { optimizers } from "../../optimizers/registry.ts";
import { schedules } from "../../optimizers/schedules/registry.ts";
import { tasks } from "../../tasks/registry.ts";
import type { Command } from "../command.ts";

const shelves: Readonly<Record<string, readonly { readonly name: string; readonly summary?: string }[]>> = {
  models: families,
  methods,
  objectives,
  tasks,
  metrics: taskMetrics,
  optimizers,
  schedules,
  formats,
  quantization: quantisationFormats,
  devices,
  "adapter-merges": adapterMethods,
  "model-merges": combiners,
};

export const list = {
  name: "list",
  summary: `list ${Object.keys(shelves).join(", ")}`,
  define(command, { print }) {
    command.argument("[kind]", Object.keys(shelves).join(", ")).action((kind: string | undefined) => {
      const kinds = kind === undefined ? Object.keys(shelves) : [kind];
      for (const name of kinds) {
        const members = shelves[name];
        if (!members) {
          const nearest = nearestName(name, Object.keys(shelves));
          throw new ConfigError(
            `"${name}" cannot be listed.${nearest ? ` Did you mean "${nearest}"?` : ""} Known: ${Object.keys(shelves).join(", ")}.`,
          );
        }
        if (kind === undefined) print(`${name}:`);
        for (const member of members) print(`  ${member.name.padEnd(26)}${member.summary ?? ""}`.trimEnd());
      }
    });
  },
} as const satisfies Command;
