/**
 * npm run bench:methods [-- --shape gpt2-124m] [--method lora] [--rounds 2]: every method at well-known shapes, beside the same
 * job in Python PEFT and transformers. The two take turns and the best of several is shown, because machines are shared.
 * The peer needs a Python with bench/peers/requirements.txt, named by TUNESMITH_PEER_PYTHON.
 */
import { execFileSync } from "node:child_process";
import { cpus, loadavg } from "node:os";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { type ShapeName, shapes } from "./shapes.ts";

interface Measurement {
  readonly tokensPerSecond: number;
  readonly trainableParameters: number;
  readonly peakMemoryMb: number;
}

const { values } = parseArgs({
  options: {
    shape: { type: "string" },
    method: { type: "string" },
    rounds: { type: "string", default: "2" },
    tokens: { type: "string", default: "256" },
  },
});

/** Options that make both sides train the same parameters. */
const methods: readonly { readonly name: string; readonly options?: object; readonly peer: boolean }[] = [
  { name: "lora", options: { rank: 16, loraAlpha: 32, targetModules: "all-linear" }, peer: true },
  { name: "dora", options: { rank: 16, loraAlpha: 32, targetModules: "all-linear", useDora: true }, peer: true },
  { name: "vera", options: {}, peer: true },
  { name: "ia3", peer: true },
  { name: "prompt-tuning", options: { numVirtualTokens: 20, promptTuningInit: "RANDOM" }, peer: true },
  { name: "p-tuning", options: { numVirtualTokens: 20 }, peer: true },
  { name: "prefix-tuning", options: { numVirtualTokens: 20 }, peer: true },
  { name: "bottleneck", peer: false },
  { name: "bitfit", peer: true },
  { name: "last-layers", options: { layers: 2 }, peer: true },
  { name: "full", peer: true },
];

/** PEFT has no class that puts virtual tokens before a masked language model. */
const hasPeer = (shape: ShapeName, { name, peer }: (typeof methods)[number]): boolean =>
  peer && !(shapes[shape].kind === "masked-lm" && /^(prompt|p|prefix)-tuning$/.test(name));

const python = process.env.TUNESMITH_PEER_PYTHON;
const here = import.meta.dirname;
const job = (shape: ShapeName, method: (typeof methods)[number]) => ({
  ...{ shape, tokens: Number(values.tokens), batch: 1, steps: 2 },
  method: { ...method.options, name: method.name === "dora" ? "lora" : method.name },
});

function run(command: string, args: readonly string[]): Measurement | string {
  try {
    const printed = execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    return JSON.parse(printed.trim().split("\n").at(-1)!) as Measurement;
  } catch (error) {
    const lines = String((error as { stderr?: string }).stderr ?? error)
      .trim()
      .split("\n");
    return lines.findLast((line) => /Error/.test(line)) ?? lines.at(-1)!;
  }
}
const ours = (shape: ShapeName, method: (typeof methods)[number]) =>
  run(process.execPath, ["--import", "tsx", resolve(here, "method-step.ts"), JSON.stringify(job(shape, method))]);
const theirs = (shape: ShapeName, method: (typeof methods)[number]) => {
  const { config, kind } = shapes[shape];
  const request = { ...job(shape, method), kind, config, method: method.name, threads: cpus().length };
  return run(python!, [resolve(here, "peers/method_step.py"), JSON.stringify(request)]);
};

const isMeasured = (result: Measurement | string): result is Measurement => typeof result !== "string";
const fastest = (results: readonly (Measurement | string)[]): Measurement | string =>
  results.reduce((a, b) => (isMeasured(a) && isMeasured(b) ? (b.tokensPerSecond > a.tokensPerSecond ? b : a) : isMeasured(b) ? b : a));
const cell = (result: Measurement | string | undefined): string =>
  result === undefined
    ? "-"
    : isMeasured(result)
      ? `${result.tokensPerSecond.toFixed(0)} tok/s, ${result.peakMemoryMb.toFixed(0)} MB`
      : result.slice(0, 80);

console.log(
  `${cpus()[0]!.model}, ${cpus().length} cores, load ${loadavg()[0]!.toFixed(2)}, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}`,
);
console.log(`${values.tokens} tokens, batch 1, float32, AdamW; best of ${values.rounds} runs in turns\n`);
for (const shape of Object.keys(shapes) as ShapeName[]) {
  if (values.shape && values.shape !== shape) continue;
  console.log(`${shapes[shape].summary}\n\n| method | trained | Tunesmith | Python | speed | memory |\n|---|--:|--:|--:|--:|--:|`);
  for (const method of methods) {
    if (values.method && values.method !== method.name) continue;
    const [mine, peer]: [(Measurement | string)[], (Measurement | string)[]] = [[], []];
    for (let round = 0; round < Number(values.rounds); round++) {
      mine.push(ours(shape, method));
      if (python && hasPeer(shape, method)) peer.push(theirs(shape, method));
    }
    const [a, b] = [fastest(mine), peer.length > 0 ? fastest(peer) : undefined];
    const both = isMeasured(a) && b !== undefined && isMeasured(b);
    const trained = isMeasured(a) ? a.trainableParameters.toLocaleString("en") : "-";
    const note = both && a.trainableParameters !== b.trainableParameters ? ` (Python: ${b.trainableParameters.toLocaleString("en")})` : "";
    const ratios = both
      ? `${(a.tokensPerSecond / b.tokensPerSecond).toFixed(2)}x | ${((100 * a.peakMemoryMb) / b.peakMemoryMb).toFixed(0)}%`
      : "- | -";
    console.log(`| ${method.name} | ${trained}${note} | ${cell(a)} | ${cell(b)} | ${ratios} |`);
  }
  console.log();
}
if (!python) console.log("(no peer: set TUNESMITH_PEER_PYTHON to a Python with bench/peers/requirements.txt)");
