/** The families on disk, what tasks they have, and the table of what ran. */
import { rmSync } from "node:fs";
import { dirname } from "node:path";
import type { Method } from "../../src/methods/method.ts";
import { methods } from "../../src/methods/registry.ts";
import { families } from "../../src/models/families/registry.ts";
import { tasks } from "../../src/tasks/registry.ts";
import type { BoundTask, Task } from "../../src/tasks/task.ts";
import { bindTask, openFamily, type SmallFamily } from "./cells.ts";

export const allMethods = methods as readonly Method[];

export interface Pair {
  readonly family: string;
  readonly task: string;
  readonly opened: SmallFamily;
  readonly bound: BoundTask;
}

export class SupportMatrix {
  readonly pairs: readonly Pair[];
  readonly #trained = new Map<string, string[]>();
  private constructor(pairs: readonly Pair[]) {
    this.pairs = pairs;
  }

  static async open(): Promise<SupportMatrix> {
    const pairs: Pair[] = [];
    for (const { name: family } of families) {
      const opened = await openFamily(family);
      for (const task of tasks as readonly Task[]) {
        const bound = bindTask(opened, task);
        if (bound) pairs.push({ family, task: task.name, opened, bound });
      }
    }
    return new SupportMatrix(pairs);
  }

  close(): void {
    for (const folder of new Set(this.pairs.map(({ opened }) => dirname(opened.folder)))) rmSync(folder, { recursive: true, force: true });
  }

  /** A method lowered the loss. */
  add({ family, task }: Pick<Pair, "family" | "task">, method: string): void {
    const key = `${family} ${task}`;
    this.#trained.set(key, [...(this.#trained.get(key) ?? []), method]);
  }

  page({ title, intro, shown }: { title: string; intro: string; shown: (found: readonly string[]) => string }): string {
    const names = (tasks as readonly Task[]).map(({ name }) => name);
    const cell = (family: string, task: string): string => {
      const found = this.#trained.get(`${family} ${task}`);
      return found ? shown(found) : "";
    };
    return [
      ...[`# ${title}`, "", intro, ""],
      `| family | ${names.join(" | ")} |`,
      `|---|${names.map(() => "---").join("|")}|`,
      ...families.map(({ name }) => `| ${name} | ${names.map((task) => cell(name, task)).join(" | ")} |`),
      "",
    ].join("\n");
  }
}
