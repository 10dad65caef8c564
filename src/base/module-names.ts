/** Patterns over the dotted names of modules and parameters. */

/** True if `module` is `target` or ends with `.target`. */
export const endsWithModule = (module: string, target: string): boolean => module === target || module.endsWith(`.${target}`);

/** Glob over dotted names: `*` is any run of characters. A pattern without `*` matches the name or its end after a dot. */
export function matchesGlob(name: string, pattern: string): boolean {
  if (!pattern.includes("*")) return endsWithModule(name, pattern);
  const expression = pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${expression.join(".*")}$`).test(name);
}
