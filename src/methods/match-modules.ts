/** Choosing modules and parameters by name, in the ways that PEFT users know. */
import { ConfigError } from "../base/errors.ts";
import { endsWithModule } from "../base/module-names.ts";
import { nearestName } from "../base/nearest-name.ts";
import type { LinearModule } from "../models/segments.ts";

/** PEFT's rule for pattern keys: the key, a regular expression, matches the whole end of the module path after a dot. */
export const matchesPattern = (module: string, pattern: string): boolean => new RegExp(`^(.*\\.)?(${pattern})$`).test(module);

/** How a configuration names modules. */
export type ModuleTargets = "all-linear" | string | readonly string[];

/** The linear layers chosen by `targets`. Experts of a mixture are hundreds, and like their router no modules of their own to PEFT: they
 * are chosen where a name or the pattern says "experts".
 * @throws ConfigError if a name matches nothing */
export function selectLinears(linears: readonly LinearModule[], targets: ModuleTargets): string[] {
  const names = (of: readonly LinearModule[]): string[] => of.map(({ module }) => module);
  const usual = names(linears.filter(({ bare }) => !bare));
  if (typeof targets === "string") return selectModules(targets.includes("experts") ? names(linears) : usual, targets);
  const [ofExperts, others] = [
    targets.filter((target) => target.includes("experts")),
    targets.filter((target) => !target.includes("experts")),
  ];
  const chosen = new Set([...selectModules(names(linears), ofExperts), ...selectModules(usual, others)]);
  return names(linears).filter((module) => chosen.has(module));
}

/** PEFT's name of a layer's weight, which `target_parameters` choose by its end. */
export const parameterOf = ({ module, bare }: LinearModule): string => bare?.parameter ?? `${module}.weight`;

/** The linear layers whose weights are in the parameters that end with one of `targets`, for example `experts.gate_up_proj`.
 * @throws ConfigError if a name matches nothing, or a weight that is stored turned */
export function selectByParameters(linears: readonly LinearModule[], targets: readonly string[]): LinearModule[] {
  const known = [...new Set(linears.map((linear) => parameterOf(linear).split(".").slice(-2).join(".")))];
  const problems = targets
    .filter((target) => !linears.some((linear) => endsWithModule(parameterOf(linear), target)))
    .map((target) => {
      const nearest = nearestName(target, known);
      return `method.targetParameters: "${target}" matches no weight of a linear layer.${nearest ? ` Did you mean "${nearest}"?` : ""} Known here: ${known.join(", ")}.`;
    });
  if (problems.length > 0) throw new ConfigError(problems);
  const chosen = linears.filter((linear) => targets.some((target) => endsWithModule(parameterOf(linear), target)));
  const turned = chosen.find(({ layout }) => layout === "in-out");
  if (turned) {
    const { module } = turned;
    throw new ConfigError(
      `method.targetParameters: ${module}.weight is stored as [in, out], where PEFT takes inputs for outputs. Name ${module.slice(module.lastIndexOf(".") + 1)} in targetModules.`,
    );
  }
  return chosen;
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
