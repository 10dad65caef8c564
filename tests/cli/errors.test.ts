/** Wrong input: every error says what, where and what to do, and the exit code tells usage (2) from failure (1). */
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { root, runCli } from "./run-cli.ts";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-errors-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const checkpoint = join(root, "examples/base-model/checkpoint");
let count = 0;

/** Runs a configuration with parts replaced. */
function train(parts: { model?: string; data?: string; extra?: string }) {
  const name = join(folder, `run-${++count}`);
  const data = parts.data ?? "{ train: examples/quickstart/instructions.jsonl }";
  writeFileSync(
    `${name}.yaml`,
    `model: ${parts.model ?? checkpoint}\ndata: ${data}\noutput: ${name}\n${parts.extra ?? "training: { maxSteps: 1 }"}\n`,
  );
  return runCli(["train", `${name}.yaml`]);
}

function damagedCheckpoint(damage: (path: string) => void): string {
  const path = join(folder, `checkpoint-${++count}`);
  cpSync(checkpoint, path, { recursive: true });
  damage(path);
  return path;
}

function dataFile(name: string, content: string | Uint8Array): string {
  const path = join(folder, `${++count}-${name}`);
  writeFileSync(path, content);
  return `{ train: ${path}, validationShare: 0 }`;
}

function editHeader(path: string, edit: (header: Record<string, { shape: number[]; data_offsets: number[] }>) => void): void {
  const file = join(path, "model.safetensors");
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<string, { shape: number[]; data_offsets: number[] }>;
  edit(header);
  const json = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(file, Buffer.concat([prefix, json, bytes.subarray(8 + length)]));
}

const row = (output: string): string => `${JSON.stringify({ instruction: "Say it.", output })}\n`;

const cases: Record<string, { run(): ReturnType<typeof runCli>; code: number; says: RegExp[] }> = {
  "keys and values that YAML takes for one": {
    run: () => train({ extra: "method: {name:full}\nquantization: {format:nf4}" }),
    code: 2,
    says: [
      /method\.name:full: unknown key\. Write a space behind the colon\./,
      /quantization\.format: missing\. Write a space behind the colon\. Known: nf4, int8\./,
    ],
  },
  "misspelt keys, all at once": {
    run: () => train({ extra: "trainng: { maxSteps: 1 }\nmethod: { name: lora, loraAlpa: 3 }\noptimizer: { name: adamm }" }),
    code: 2,
    says: [
      /trainng: unknown key. Did you mean "training"\?/,
      /method\.loraAlpa: unknown key. Did you mean "loraAlpha"\?/,
      /optimizer\.name: "adamm" is not known. Did you mean "adamw"\?/,
    ],
  },
  "a broken YAML file": { run: () => train({ extra: "training: { maxSteps: [1 }" }), code: 2, says: [/run-\d+\.yaml:\d+:\d+: /] },
  "a missing model": {
    run: () => train({ model: "./nowhere-at-all" }),
    code: 1,
    says: [/\.\/nowhere-at-all is not a folder, nor a hub name/],
  },
  "truncated weights": {
    run: () => train({ model: damagedCheckpoint((path) => truncateSync(join(path, "model.safetensors"), 1_000_000)) }),
    code: 1,
    says: [/model\.safetensors: truncated: tensor ".*" ends at byte \d+, the file has 1000000/],
  },
  "a header that lies about offsets": {
    run: () =>
      train({ model: damagedCheckpoint((path) => editHeader(path, (header) => (header["model.norm.weight"]!.data_offsets[1]! -= 2))) }),
    code: 1,
    says: [/tensor "model\.norm\.weight" BF16 \[192\] needs 384 bytes; its offsets give 382/],
  },
  "shapes that differ from config.json": {
    run: () =>
      train({
        model: damagedCheckpoint((path) =>
          writeFileSync(
            join(path, "config.json"),
            readFileSync(join(path, "config.json"), "utf8").replace('"intermediate_size": 512', '"intermediate_size": 500'),
          ),
        ),
      }),
    code: 1,
    says: [/mlp\.gate_proj\.weight is \[512, 192\] in the file, \[500, 192\] by config\.json/],
  },
  "an unknown model_type": {
    run: () => train({ model: damagedCheckpoint((path) => writeFileSync(join(path, "config.json"), '{"model_type": "lama"}')) }),
    code: 1,
    says: [/model_type "lama" is not known. Did you mean "llama"\?/],
  },
  "no weights": {
    run: () => train({ model: damagedCheckpoint((path) => rmSync(join(path, "model.safetensors"))) }),
    code: 1,
    says: [/neither model\.safetensors nor model\.safetensors\.index\.json/],
  },
  "a malformed JSONL line": {
    run: () => train({ data: dataFile("bad.jsonl", `${row("a")}{"instruction": \n${row("b")}`) }),
    code: 1,
    says: [/bad\.jsonl:2: not valid JSON/],
  },
  "invalid UTF-8": {
    run: () => train({ data: dataFile("utf.jsonl", Buffer.concat([Buffer.from(row("a")), Buffer.from([0x7b, 0xff, 0xfe, 0x0a])])) }),
    code: 1,
    says: [/utf\.jsonl:2: invalid UTF-8/],
  },
  "an empty data set": { run: () => train({ data: dataFile("empty.jsonl", "\n") }), code: 1, says: [/empty\.jsonl is empty/] },
  "labels all masked": {
    run: () => train({ data: dataFile("masked.jsonl", `${JSON.stringify({ messages: [{ role: "user", content: "hello" }] })}\n`) }),
    code: 1,
    says: [/masked\.jsonl:1: the conversation has no assistant message/],
  },
  "a row above the length, when that is an error": {
    run: () => train({ data: dataFile("long.jsonl", row("word ".repeat(400))).replace("}", ", maxLength: 64, overlong: error }") }),
    code: 1,
    says: [/long\.jsonl:1: the row has \d+ tokens; data\.maxLength is 64/],
  },
  "a length above the model's": {
    run: () => train({ data: "{ train: examples/quickstart/instructions.jsonl, maxLength: 100000 }" }),
    code: 2,
    says: [/data\.maxLength: 100000 is above the model's limit of 512/],
  },
  "a target module that matches nothing": {
    run: () => train({ extra: 'method: { name: lora, targetModules: ["q_porj"] }' }),
    code: 2,
    says: [/"q_porj" matches no linear layer. Did you mean "q_proj"\?/],
  },
  "a rank above the matrix": {
    run: () => train({ extra: "method: { name: lora, rank: 100 }" }),
    code: 2,
    says: [/method\.rank: 100 is above the size of model\.layers\.0\.self_attn\.k_proj \[64, 192\]; choose at most 64/],
  },
  "token ids outside the vocabulary": {
    run: () =>
      train({
        model: damagedCheckpoint((path) => {
          const file = join(path, "tokenizer.json");
          const definition = JSON.parse(readFileSync(file, "utf8")) as { model: { vocab: Record<string, number> } };
          for (const token of Object.keys(definition.model.vocab))
            if (definition.model.vocab[token]! > 100) definition.model.vocab[token]! += 5000;
          writeFileSync(file, JSON.stringify(definition));
        }),
      }),
    code: 1,
    says: [/token id \d+ is outside the model's vocabulary of \d+/],
  },
  "an unknown command": { run: () => runCli(["trian"]), code: 2, says: [/unknown command 'trian'[\s\S]*train/] },
  "an unknown option": { run: () => runCli(["train", "x.yaml", "--resum"]), code: 2, says: [/unknown option '--resum'[\s\S]*--resume/] },
  "a missing configuration": { run: () => runCli(["train", "nowhere.yaml"]), code: 2, says: [/nowhere\.yaml cannot be read: ENOENT/] },
};

describe("errors", () => {
  it.each(Object.keys(cases))("%s", async (name) => {
    const { run, code, says } = cases[name]!;
    const result = await run();
    for (const pattern of says) expect(result.stderr).toMatch(pattern);
    expect(result.code).toBe(code);
    expect(result.stderr).not.toMatch(/\n\s+at /);
  });
});
