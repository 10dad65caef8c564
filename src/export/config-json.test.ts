import { expect, it } from "vitest";
import { encodeConfig, withWordHead } from "./config-json.ts";

it("whole numbers that are floats in config.json stay floats", () => {
  const text =
    '{"initializer_cutoff_factor": 2.0, "eps": 1e-05, "layers": 2, "rope": {"theta": 10000.0, "half": 0.5}, "architectures": ["XModel"]}';
  const written = encodeConfig({ ...withWordHead(JSON.parse(text) as Record<string, unknown>), layers: 2, added: 3 }, text);
  expect(written).toContain('"initializer_cutoff_factor": 2.0,');
  expect(written).toContain('"theta": 10000.0,');
  expect(written).toContain('"layers": 2,');
  expect(written).toContain('"added": 3\n');
  expect(JSON.parse(written)).toMatchObject({ ...(JSON.parse(text) as object), architectures: ["XForMaskedLM"], added: 3 });
});
