/** The tests of a support matrix: every cell lowers the loss on one device, or the method finds nothing to train. */
import { describe, expect, it } from "vitest";
import type { Backend } from "../../src/backends/backend.ts";
import type { Method } from "../../src/methods/method.ts";
import { runCell } from "./cells.ts";
import type { Pair, SupportMatrix } from "./matrix.ts";

export interface CellsOptions {
  readonly backend: Backend;
  methodsOf(pair: Pair): readonly Method[];
}

export function describeCells(matrix: SupportMatrix, { backend, methodsOf }: CellsOptions): void {
  describe.each(matrix.pairs)("$family, $task", (pair) => {
    const { opened, bound } = pair;
    it.each(methodsOf(pair))("$name", async (method) => {
      const result = await runCell({ family: opened, task: bound, method, backend });
      if (result === "unfit") return;
      expect(result.before).toBeGreaterThan(0);
      expect(result.after).toBeLessThan(result.before);
      matrix.add(pair, method.name);
    });
  });
}
