/** Registries are literal tuples of named members; this looks one up and, when the name is unknown, says which is nearest. */
import { UnsupportedError } from "./errors.ts";
import { nearestName } from "./nearest-name.ts";

export function lookUp<Member extends { readonly name: string }>(kind: string, members: readonly Member[], name: string): Member {
  const found = members.find((member) => member.name === name);
  if (found) return found;
  const names = members.map((member) => member.name);
  const nearest = nearestName(name, names);
  throw new UnsupportedError(`${kind} "${name}" is not known.${nearest ? ` Did you mean "${nearest}"?` : ""} Known: ${names.join(", ")}.`);
}
