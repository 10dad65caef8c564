/** Choosing modules and parameters by name, in the ways that PEFT users know. */
import { ConfigError } from "../base/errors.ts";
import { endsWithModule } from "../base/module-names.ts";
import { nearestName } from "../base/nearest-name.ts";
import type { LinearModule } from "../models/segments.ts";

/** PEFT's rule for pattern keys: the key, a regular expression, matches the whole end of the module path after a dot. */
export const matchesPattern = (module: string, pattern: string): boolean => new RegExp(`^(.*\\.)?(${pattern})$`).test(module);

/** How a configuration names modules. */
export type ModuleTargets = "all-linear" | string | readonly string[];

/** The linear layers chosen by `targets`. Experts of a mixture are hundreds, and no modules of their own to PEFT: they are chosen
 * where a name or the pattern says "experts".
 * @throws ConfigError if a name matches nothing */
export function selectLinears(linears: readonly LinearModule[], targets: ModuleTargets): string[] {
  const names = (of: readonly LinearModule[]): string[] => of.map(({ module }) => module);
  const usual = names(linears.filter(({ isExpert }) => !isExpert));
  if (typeof targets === "string") return selectModules(targets.includes("experts") ? names(linears) : usual, targets);
  const [ofExperts, others] = [
    targets.filter((target) => target.includes("experts")),
    targets.filter((target) => !target.includes("experts")),
  ];
  const chosen = new Set([...selectModules(names(linears), ofExperts), ...selectModules(usual, others)]);
  return names(linears).filter((module) => chosen.has(module));
}

/** The modules chosen by a list of names, one regular expression, or `all-linear`.
 * @param field the configuration field, and `kind` what the modules are, for messages
 * @throws ConfigError if a name matches nothing, with the nearest module names */
export function selectModules(
  modules: readonly string[],
  targets: ModuleTargets,
  { field = "targetModules", kind = "linear layer" }: { field?: string; kind?: string } = {},
): string[] {
  const known = `Known here: ${lastParts(modules).join(", ")}.`;
  if (targets === "all-linear") return [...modules];
  if (typeof targets === "string") {
    const chosen = modules.filter((module) => new RegExp(`^(?:${targets})$`).test(module));
    if (chosen.length === 0) {
      const words = targets.match(/[a-z_]\w*/gi) ?? [];
      const nearest = words.map((word) => nearestName(word, lastParts(modules))).filter((name) => name !== undefined);
      const hint = nearest.length > 0 ? ` Did you mean "${[...new Set(nearest)].join('", "')}"?` : "";
      throw new ConfigError(
        `method.${field}: the pattern /${targets}/ matches no ${kind}.${hint} It has to match the whole name, such as ${modules[0]}. ${known}`,
      );
    }
    return chosen;
  }
  const problems = targets
    .filter((target) => !modules.some((module) => endsWithModule(module, target)))
    .map((target) => {
      const nearest = nearestName(target, lastParts(modules));
      return `method.${field}: "${target}" matches no ${kind}.${nearest ? ` Did you mean "${nearest}"?` : ""} ${known}`;
    });
  if (problems.length > 0) throw new ConfigError(problems);
  return modules.filter((module) => targets.some((target) => endsWithModule(module, target)));
}

const lastParts = (modules: readonly string[]): string[] => [
  ...new Set(modules.map((module) => module.slice(module.lastIndexOf(".") + 1))),
];
