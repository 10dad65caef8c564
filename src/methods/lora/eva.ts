/**
 * EVA: A begins at the main directions of what a layer reads from the training data, and ranks go to the layers whose
 * directions explain most. Paischer et al. 2024, https://arxiv.org/abs/2410.07170. Step by step as PEFT's `eva.py`; differs: among
 * layers that read the same values the first ones get the spare ranks (PEFT: any), no layer gets a rank above the size of its matrix, and
 * `whiten` divides the directions of such layers once (PEFT: once each).
 */
import { ConfigError } from "../../base/errors.ts";
import { IncrementalPca } from "../../base/incremental-pca.ts";
import type { ObservedInputs } from "../method.ts";
import { alphaOf, type LoraConfig, rankOf } from "./config.ts";

/** A configuration with the ranks that were found, and A [rank, in] by module. */
export interface EvaStart {
  readonly config: LoraConfig;
  readonly given: ReadonlyMap<string, Float32Array>;
}

/** Modules that read the same values: directions are found for the first and serve all. */
interface Reader {
  readonly modules: readonly string[];
  readonly features: number;
  readonly mostComponents: number;
  /** The size of each module's matrix, which no rank can use more of. */
  readonly mostRanks: ReadonlyMap<string, number>;
  readonly pca: IncrementalPca;
  /** By component: true where it hardly turned in the last batch. */
  converged: readonly boolean[];
  /** Reads no more batches. */
  isDone: boolean;
}

/** Batches after which the search is given up. */
const mostBatches = 1000;

/** @param modules the layers to adapt
 * @throws ConfigError if the data hold too few tokens in a batch, or directions do not settle */
export async function findStart(
  config: LoraConfig,
  { modules, inputs }: { modules: ReadonlySet<string>; inputs: ObservedInputs },
): Promise<EvaStart> {
  const { rho, tau, useLabelMask } = config.evaConfig;
  const readers = inputs.groups.map((group): Reader | undefined => {
    const adapted = group.filter(({ module }) => modules.has(module));
    if (adapted.length === 0) return undefined;
    const features = group[0]!.inFeatures;
    const names = adapted.map(({ module }) => module);
    const mostRanks = new Map(adapted.map(({ module, outFeatures }) => [module, Math.min(features, outFeatures)] as const));
    const mostComponents = Math.min(features, Math.max(...names.map((name) => Math.round(rankOf(config, name) * rho))));
    const pca = new IncrementalPca({ components: mostComponents, features });
    return { modules: names, features, mostComponents, mostRanks, pca, converged: new Array(mostComponents).fill(false), isDone: false };
  });
  const present = readers.filter((reader) => reader !== undefined);
  let ranks = new Map(present.flatMap((reader) => reader.modules.map((name) => [name, reader.mostComponents] as const)));
  let batches = 0;
  for await (const rows of inputs.batches(useLabelMask ? "supervised" : "all")) {
    const reading = present.filter((reader) => !settle(reader, ranks.get(reader.modules[0]!)!));
    if (present.every(({ isDone }) => isDone)) break;
    if (batches++ === mostBatches) break;
    for (const reader of reading) read(reader, rows[readers.indexOf(reader)]!, tau);
    if (present.every(({ pca }) => pca.found)) ranks = distributeRanks(present, config);
    else if (batches === inputs.batchesInRound) break;
  }
  if (!present.every(({ pca }) => pca.found)) {
    const most = Math.max(...present.map(({ mostComponents }) => mostComponents));
    throw new ConfigError(
      `method.initLoraWeights: eva needs batches of at least ${most} ${useLabelMask ? "supervised " : ""}tokens. Raise training.batchSize or data.maxLength, lower method.rank or method.evaConfig.rho, or set method.evaConfig.useLabelMask to false.`,
    );
  }
  if (!present.every(({ isDone }) => isDone))
    throw new ConfigError(
      `method.initLoraWeights: eva's directions still turn after ${mostBatches} batches. Lower method.evaConfig.tau (${tau}), or lengthen the batches.`,
    );
  return startOf(config, { readers: present, ranks });
}

/** @returns true if the reader sits this batch out: the directions that count have settled */
function settle(reader: Reader, rank: number): boolean {
  reader.isDone = reader.converged.slice(0, rank).every(Boolean);
  return reader.isDone;
}

function read(reader: Reader, rows: Float32Array, tau: number): void {
  const { pca, features, mostComponents } = reader;
  if (rows.length / features < mostComponents) return;
  const before = pca.found?.components;
  pca.add(rows);
  if (!before) return;
  const now = pca.found!.components;
  reader.converged = Array.from({ length: mostComponents }, (_, k) => {
    let cosine = 0;
    for (let i = k * features; i < (k + 1) * features; i++) cosine += before[i]! * now[i]!;
    return cosine >= tau;
  });
}

/** The directions that explain most over all layers, as many as the ranks allow together. */
function distributeRanks(readers: readonly Reader[], config: LoraConfig): Map<string, number> {
  // Layers that share what they read come after the first of each, as in PEFT: the order decides between equals.
  const layers = [...readers.map(({ modules }) => modules[0]!), ...readers.flatMap(({ modules }) => modules.slice(1))];
  const readerOf = new Map(readers.flatMap((reader) => reader.modules.map((name) => [name, reader] as const)));
  const budget = layers.reduce((sum, name) => sum + rankOf(config, name), 0);
  const mostOf = (name: string): number => readerOf.get(name)!.mostRanks.get(name)!;
  const candidates = layers.flatMap((name) =>
    Array.from(readerOf.get(name)!.pca.found!.explainedVarianceRatio.subarray(0, mostOf(name)), (share) => ({ name, share })),
  );
  candidates.sort((x, y) => y.share - x.share);
  const ranks = new Map(layers.map((name) => [name, 0]));
  for (const { name } of candidates.slice(0, budget)) ranks.set(name, ranks.get(name)! + 1);
  for (const { modules } of readers) {
    const [first] = modules;
    for (const name of modules.slice(1)) {
      const [rank, firstRank] = [ranks.get(name)!, ranks.get(first!)!];
      if (firstRank < rank && rank <= mostOf(first!)) ranks.set(first!, rank).set(name, firstRank);
    }
  }
  return ranks;
}

function startOf(config: LoraConfig, { readers, ranks }: { readers: readonly Reader[]; ranks: ReadonlyMap<string, number> }): EvaStart {
  const { whiten, adjustScalingFactors } = config.evaConfig;
  const given = new Map<string, Float32Array>();
  const [rankPattern, alphaPattern]: Record<string, number>[] = [{}, {}];
  for (const { modules, features, pca } of readers) {
    const { components, singularValues } = pca.found!;
    for (const module of modules) {
      const [rank, asked, alpha] = [ranks.get(module)!, rankOf(config, module), alphaOf(config, module)];
      if (rank === 0) continue;
      const divisor = (k: number): number => (whiten ? Math.sqrt(singularValues[k]!) : 1);
      given.set(
        module,
        Float32Array.from({ length: rank * features }, (_, i) => components[i]! / divisor(Math.floor(i / features))),
      );
      const newAlpha = adjustScalingFactors ? (alpha * rank) / asked : alpha;
      if (rank !== config.rank) rankPattern![module] = rank;
      if (newAlpha !== (config.loraAlpha ?? 2 * config.rank)) alphaPattern![module] = newAlpha;
    }
  }
  return {
    config: {
      ...config,
      targetModules: [...given.keys()],
      excludeModules: [],
      layersToTransform: undefined,
      rankPattern: rankPattern!,
      alphaPattern: alphaPattern!,
    },
    given,
  };
}
