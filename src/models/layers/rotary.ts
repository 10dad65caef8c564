/**
 * Rotary position tables with the scalings of transformers' `rope_scaling`: default, linear, dynamic (NTK), llama3, yarn.
 * RoFormer: https://arxiv.org/abs/2104.09864; YaRN: https://arxiv.org/abs/2309.00071. Computed in float64, stored in float32.
 */
import { UnsupportedError } from "../../base/errors.ts";
import { nearestName } from "../../base/nearest-name.ts";
import type { RotaryTables } from "../model.ts";

export interface RotaryConfig {
  readonly ropeTheta: number;
  readonly headDim: number;
  readonly maxPositionEmbeddings: number;
  /** `rope_scaling` (or `rope_parameters`) of config.json, keys verbatim. */
  readonly ropeScaling?: Readonly<Record<string, unknown>> | undefined;
}

interface Frequencies {
  /** One inverse frequency for each pair of channels. */
  readonly inverse: number[];
  /** Factor on cosine and sine. */
  readonly attentionFactor: number;
}

type Scaling = (config: RotaryConfig, length: number) => Frequencies;

const scalings: Record<string, Scaling> = { default: plain, linear, dynamic, llama3, yarn };

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

export function rotaryScaling(config: RotaryConfig): Scaling {
  const type = String(config.ropeScaling?.rope_type ?? config.ropeScaling?.type ?? "default");
  const scaling = scalings[type];
  if (scaling) return scaling;
  const nearest = nearestName(type, Object.keys(scalings));
  throw new UnsupportedError(
    `rope_scaling type "${type}" is not supported.${nearest ? ` Did you mean "${nearest}"?` : ""} Known: ${Object.keys(scalings).join(", ")}.`,
  );
}

function inverseFrequencies(theta: number, headDim: number): number[] {
  return Array.from({ length: headDim / 2 }, (_, j) => 1 / theta ** ((2 * j) / headDim));
}

function plain({ ropeTheta, headDim }: RotaryConfig): Frequencies {
  return { inverse: inverseFrequencies(ropeTheta, headDim), attentionFactor: 1 };
}

function linear(config: RotaryConfig): Frequencies {
  const factor = numberOf(config, "factor");
  return { inverse: plain(config).inverse.map((f) => f / factor), attentionFactor: 1 };
}

/** The base grows once the sequence is longer than the model was trained for. */
function dynamic(config: RotaryConfig, length: number): Frequencies {
  const { ropeTheta, headDim: D, maxPositionEmbeddings } = config;
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
  const { ropeTheta, headDim: D } = config;
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
