/**
 * Rotary position tables with the scalings of transformers' `rope_scaling`: default, linear, dynamic (NTK), llama3, yarn, longrope.
 * RoFormer: https://arxiv.org/abs/2104.09864; YaRN: https://arxiv.org/abs/2309.00071; LongRoPE:
 * https://arxiv.org/abs/2402.13753. Computed in float64, stored in float32.
 */
import { CheckpointError, UnsupportedError } from "../../base/errors.ts";
import { nearestName } from "../../base/nearest-name.ts";
import type { ConfigReader } from "../config-reader.ts";

export interface RotaryConfig {
  readonly ropeTheta: number;
  /** Channels of a head that turn, all or the first of them; even. */
  readonly rotaryDim: number;
  readonly maxPositionEmbeddings: number;
  /** `rope_scaling` (or `rope_parameters`) of config.json, keys verbatim. */
  readonly ropeScaling?: Readonly<Record<string, unknown>> | undefined;
}

/** Row-major [length, half]. */
export interface RotaryTables {
  readonly half: number;
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

interface Frequencies {
  /** One inverse frequency for each pair of channels. */
  readonly inverse: number[];
  /** Factor on cosine and sine. */
  readonly attentionFactor: number;
}

type Scaling = (config: RotaryConfig, length: number) => Frequencies;

const scalings: Record<string, Scaling> = { default: plain, linear, dynamic, llama3, yarn, longrope };

export interface RotaryDefaults {
  readonly headDim: number;
  readonly maxPositionEmbeddings: number;
  /** Where config.json names none. */
  readonly ropeTheta?: number;
  /** Share of a head's channels that turn, where config.json names none. */
  readonly partialRotaryFactor?: number;
}

/** What config.json says: transformers 5 writes rope_parameters with all of it inside, earlier versions rope_theta and partial_rotary_factor beside rope_scaling.
 * @throws UnsupportedError if the scaling type is not known; CheckpointError if the channels that turn are no even number */
export function readRotary(config: ConfigReader, defaults: RotaryDefaults): RotaryConfig {
  const { headDim, maxPositionEmbeddings, ropeTheta = 10000, partialRotaryFactor = 1 } = defaults;
  const given = config.object("rope_parameters") ?? config.object("rope_scaling");
  // Phi-3 keeps the length of its first training beside the scaling; transformers reads it there first.
  const trained = config.optionalNumber("original_max_position_embeddings");
  const ropeScaling = given && trained !== undefined ? { ...given, original_max_position_embeddings: trained } : given;
  const inside = (key: string): number | undefined => (typeof ropeScaling?.[key] === "number" ? ropeScaling[key] : undefined);
  const share = inside("partial_rotary_factor") ?? config.number("partial_rotary_factor", partialRotaryFactor);
  const rotaryDim = Math.trunc(headDim * share);
  if (rotaryDim <= 0 || rotaryDim % 2 !== 0 || rotaryDim > headDim)
    throw new CheckpointError(
      `config.json: ${share} of ${headDim} channels of a head (partial_rotary_factor) are ${rotaryDim}; expected an even number up to ${headDim}.`,
    );
  const rotary: RotaryConfig = {
    ...{ ropeTheta: inside("rope_theta") ?? config.number("rope_theta", ropeTheta), rotaryDim, maxPositionEmbeddings, ropeScaling },
  };
  rotaryScaling(rotary);
  return rotary;
}

/** Tables for positions 0..length-1 of a sequence of `sequenceLength` tokens. @throws UnsupportedError if the scaling type is not known */
export function computeRotaryTables(
  config: RotaryConfig,
  { length, sequenceLength }: { length: number; sequenceLength: number },
): RotaryTables {
  const { inverse, attentionFactor } = rotaryScaling(config)(config, sequenceLength);
  const half = inverse.length;
  const cos = new Float32Array(length * half);
  const sin = new Float32Array(length * half);
  // Angles are rounded to float32 as the reference does; at position 100,000 that is visible in the last digits.
  const rounded = Float32Array.from(inverse);
  for (let position = 0; position < length; position++) {
    for (let j = 0; j < half; j++) {
      const angle = Math.fround(position * rounded[j]!);
      cos[position * half + j] = Math.cos(angle) * attentionFactor;
      sin[position * half + j] = Math.sin(angle) * attentionFactor;
    }
  }
  return { half, cos, sin };
}

/** Texts up to this length have other tables than longer ones; undefined in scalings where all up to the trained length share theirs. */
export const shortRotaryLength = (config: RotaryConfig): number | undefined =>
  rotaryScaling(config) === longrope ? numberOf(config, "original_max_position_embeddings") : undefined;

function rotaryScaling(config: RotaryConfig): Scaling {
  const type = String(config.ropeScaling?.rope_type ?? config.ropeScaling?.type ?? "default");
  const scaling = scalings[type];
  if (scaling) return scaling;
  const nearest = nearestName(type, Object.keys(scalings));
  throw new UnsupportedError(
    `rope_scaling type "${type}" is not supported.${nearest ? ` Did you mean "${nearest}"?` : ""} Known: ${Object.keys(scalings).join(", ")}.`,
  );
}

function inverseFrequencies(theta: number, rotaryDim: number): number[] {
  return Array.from({ length: rotaryDim / 2 }, (_, j) => 1 / theta ** ((2 * j) / rotaryDim));
}

function plain({ ropeTheta, rotaryDim }: RotaryConfig): Frequencies {
  return { inverse: inverseFrequencies(ropeTheta, rotaryDim), attentionFactor: 1 };
}

function linear(config: RotaryConfig): Frequencies {
  const factor = numberOf(config, "factor");
  return { inverse: plain(config).inverse.map((f) => f / factor), attentionFactor: 1 };
}

/** The base grows once the sequence is longer than the model was trained for. */
function dynamic(config: RotaryConfig, length: number): Frequencies {
  const { ropeTheta, rotaryDim: D, maxPositionEmbeddings } = config;
  const trained = maxPositionEmbeddings;
  const factor = numberOf(config, "factor");
  const sequence = Math.max(length, trained);
  const theta = ropeTheta * ((factor * sequence) / trained - (factor - 1)) ** (D / (D - 2));
  return { inverse: inverseFrequencies(theta, D), attentionFactor: 1 };
}

/** Long wavelengths are divided by the factor, short ones kept, those between interpolated. */
function llama3(config: RotaryConfig): Frequencies {
  const factor = numberOf(config, "factor");
  const low = numberOf(config, "low_freq_factor");
  const high = numberOf(config, "high_freq_factor");
  const trained = numberOf(config, "original_max_position_embeddings");
  const inverse = plain(config).inverse.map((f) => {
    const wavelength = (2 * Math.PI) / f;
    if (wavelength < trained / high) return f;
    if (wavelength > trained / low) return f / factor;
    const smooth = (trained / wavelength - low) / (high - low);
    return ((1 - smooth) * f) / factor + smooth * f;
  });
  return { inverse, attentionFactor: 1 };
}

function yarn(config: RotaryConfig): Frequencies {
  const { ropeTheta, rotaryDim: D } = config;
  const trained = optional(config, "original_max_position_embeddings") ?? config.maxPositionEmbeddings;
  const factor = optional(config, "factor") ?? config.maxPositionEmbeddings / trained;
  const channelAt = (rotations: number): number => (D * Math.log(trained / (rotations * 2 * Math.PI))) / (2 * Math.log(ropeTheta));
  const truncate = config.ropeScaling?.truncate !== false;
  let low = channelAt(optional(config, "beta_fast") ?? 32);
  let high = channelAt(optional(config, "beta_slow") ?? 1);
  if (truncate) [low, high] = [Math.floor(low), Math.ceil(high)];
  low = Math.max(low, 0);
  high = Math.min(high, D - 1);
  if (low === high) high += 0.001; // the reference does the same against a division by zero
  const inverse = plain(config).inverse.map((f, j) => {
    const ramp = Math.min(1, Math.max(0, (j - low) / (high - low)));
    return (f / factor) * ramp + f * (1 - ramp);
  });
  const magnitude = (scale: number, by = 1): number => (scale <= 1 ? 1 : 0.1 * by * Math.log(scale) + 1);
  const mscale = optional(config, "mscale");
  const mscaleAll = optional(config, "mscale_all_dim");
  const attentionFactor =
    optional(config, "attention_factor") ??
    (mscale && mscaleAll ? magnitude(factor, mscale) / magnitude(factor, mscaleAll) : magnitude(factor));
  return { inverse, attentionFactor };
}

/** Every frequency has its own divisor: one list for lengths that the model was first trained for, one for longer ones. */
function longrope(config: RotaryConfig, length: number): Frequencies {
  const trained = numberOf(config, "original_max_position_embeddings");
  const name = length > trained ? "long_factor" : "short_factor";
  const divisors = config.ropeScaling?.[name];
  if (!Array.isArray(divisors) || divisors.length !== config.rotaryDim / 2 || divisors.some((divisor) => typeof divisor !== "number"))
    throw new UnsupportedError(
      `rope_scaling in config.json: ${name} is ${JSON.stringify(divisors)}; type longrope needs a list of ${config.rotaryDim / 2} numbers there, one for each pair of channels.`,
    );
  const inverse = plain(config).inverse.map((f, j) => f / (divisors[j] as number));
  const factor = optional(config, "factor") ?? config.maxPositionEmbeddings / trained;
  const attentionFactor = optional(config, "attention_factor") ?? (factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(trained)));
  return { inverse, attentionFactor };
}

function optional(config: RotaryConfig, key: string): number | undefined {
  const value = config.ropeScaling?.[key];
  return typeof value === "number" ? value : undefined;
}

function numberOf(config: RotaryConfig, key: string): number {
  const value = optional(config, key);
  if (value === undefined)
    throw new UnsupportedError(
      `rope_scaling in config.json lacks the number "${key}", which its type needs. Add it as the model card gives it.`,
    );
  return value;
}
