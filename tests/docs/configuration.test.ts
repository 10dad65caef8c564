/** docs/configuration.md says every key that there is, and no document names another. `npx vitest run tests/docs -u` writes the page anew. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { allKeys, configurationPage } from "./configuration-page.ts";

const root = join(import.meta.dirname, "../..");
const documents = [
  ...["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"],
  ...readdirSync(join(root, "docs")).flatMap((name) => (name.endsWith(".md") && name !== "configuration.md" ? [`docs/${name}`] : [])),
  ...readdirSync(join(root, "examples")).map((name) => `examples/${name}/README.md`),
];
const keys = allKeys();
const sections = new Set([...keys].flatMap((key) => (key.includes(".") ? [key.split(".")[0]!] : [])));

it("is the schema's: every key with what it takes and a description", async () => {
  const page = configurationPage();
  expect(page.split("\n").filter((line) => /\|\s*\|$/.test(line) && !line.startsWith("| key"))).toEqual([]);
  await expect(page).toMatchFileSnapshot("../../docs/configuration.md");
});

it.each(documents)("%s names no key that is not there", (name) => {
  const text = readFileSync(join(root, name), "utf8");
  const named = [...text.matchAll(/`([a-z]+)\.([a-zA-Z0-9.]+)(?:[:=][^`]*)?`/g)].filter(([, section]) => sections.has(section!));
  const unknown = named.map(([, section, key]) => `${section}.${key}`).filter((key) => !keys.has(key));
  expect(unknown).toEqual([]);
});
