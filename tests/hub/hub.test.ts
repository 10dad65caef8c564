/** Downloads against a hub that this test starts on loopback. */
import { mkdtempSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { downloadModel } from "../../src/platform/node/hub.ts";
import { commit, type HubServer, startHubServer } from "./hub-server.ts";

const files = {
  "config.json": Buffer.from('{"model_type": "llama"}'),
  "tokenizer.json": Buffer.from("{}"),
  "model.safetensors": Buffer.alloc(300_000, "weights "),
  "README.md": Buffer.from("not needed"),
  "pytorch_model.bin": Buffer.from("not wanted"),
};
let hub: HubServer;
let home: string;
const download = (model = "org/tiny", more: Record<string, string> = {}) =>
  downloadModel(model, { environment: { HF_HOME: home, HF_ENDPOINT: hub.endpoint, ...more } });
const gets = (file: string): number => hub.requests.filter((line) => line.startsWith("GET") && line.endsWith(file)).length;

beforeEach(async () => {
  hub = await startHubServer("org/tiny", files);
  home = mkdtempSync(join(tmpdir(), "tunesmith-hub-"));
});
afterEach(async () => {
  await hub.close();
  rmSync(home, { recursive: true, force: true });
});

describe("downloadModel", () => {
  it("fills the cache in the standard layout, and fetches nothing twice", async () => {
    const path = await download();
    expect(path).toBe(join(home, "hub", "models--org--tiny", "snapshots", commit));
    expect(readFileSync(join(path, "model.safetensors")).equals(files["model.safetensors"])).toBe(true);
    expect(readlinkSync(join(path, "model.safetensors"))).toMatch(/^\.\.\/\.\.\/blobs\/[0-9a-f]{64}$/);
    expect(readlinkSync(join(path, "config.json"))).toMatch(/^\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/);
    expect(readFileSync(join(home, "hub", "models--org--tiny", "refs", "main"), "utf8")).toBe(commit);
    expect(gets("README.md") + gets("pytorch_model.bin")).toBe(0);
    const before = gets("model.safetensors");
    expect(await download()).toBe(path);
    expect(gets("model.safetensors")).toBe(before);
  });

  it("resumes a download that broke off", async () => {
    hub.cutNext = { file: "model.safetensors", after: 100_000 };
    const path = await download();
    expect(readFileSync(join(path, "model.safetensors")).equals(files["model.safetensors"])).toBe(true);
    expect(hub.requests.filter((line) => line === "GET /store/model.safetensors")).toHaveLength(2);
  });

  it("fetches a damaged file again, then gives up", async () => {
    hub.corruptTimes = 1;
    const path = await download();
    expect(readFileSync(join(path, "config.json")).equals(files["config.json"])).toBe(true);
    rmSync(home, { recursive: true });
    hub.corruptTimes = 2;
    await expect(download()).rejects.toThrow(/arrived damaged twice/);
  });

  it("tries again when the hub is overloaded", async () => {
    hub.failTimes = 2;
    await expect(download()).resolves.toContain(commit);
  });

  it("sends the token, and explains a refusal", async () => {
    hub.requiredToken = "secret";
    await expect(download()).rejects.toThrow(/refuses access \(401\).*HF_TOKEN/);
    await expect(download("org/tiny", { HF_TOKEN: "secret" })).resolves.toContain(commit);
  });

  it("says when a model or revision is not there", async () => {
    await expect(download("org/other")).rejects.toThrow(/org\/other is not on .* \(404\)/);
    await expect(download("org/tiny@nowhere")).rejects.toThrow(/no such model or revision/);
    await expect(download(`org/tiny@${commit}`)).resolves.toContain(commit);
  });

  it("works offline from the cache, and without a network", async () => {
    await expect(download("org/tiny", { HF_HUB_OFFLINE: "1" })).rejects.toThrow(/not in the cache.*HF_HUB_OFFLINE/);
    const path = await download();
    const count = hub.requests.length;
    expect(await download("org/tiny", { HF_HUB_OFFLINE: "1" })).toBe(path);
    expect(hub.requests.length).toBe(count);
    await hub.close();
    expect(await download()).toBe(path);
  }, 20_000);
});
