/** Every method on every task of every family, on the CPU. The table in docs/support.md is what ran; `npx vitest run tests/support -u` writes it anew. */
import { afterAll, expect, it } from "vitest";
import { backend } from "../conformance/tiny-model.ts";
import { describeCells } from "./describe-cells.ts";
import { allMethods, SupportMatrix } from "./matrix.ts";

const matrix = await SupportMatrix.open();
afterAll(() => matrix.close());

describeCells(matrix, { backend, methodsOf: () => allMethods });

it("is what docs/support.md says", async () => {
  const names = allMethods.map(({ name }) => name);
  const page = matrix.page({
    title: "Support on the CPU",
    intro: `Written by tests/support from runs on small random models: each method was attached to a checkpoint of the family and lowered the loss
of the task. "all" are ${names.join(", ")}.
An empty cell is a task that the family does not have. WebGPU: [support-webgpu.md](support-webgpu.md).`,
    shown(found) {
      const lacking = names.filter((name) => !found.includes(name));
      return lacking.length === 0 ? "all" : `all but ${lacking.join(", ")}`;
    },
  });
  await expect(page).toMatchFileSnapshot("../../docs/support.md");
});
