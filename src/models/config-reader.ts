/** Typed reading of config.json: a wrong or missing field is named with what was expected. */
import { CheckpointError, UnsupportedError } from "../base/errors.ts";

export class ConfigReader {
  readonly #config: Readonly<Record<string, unknown>>;
  constructor(config: Readonly<Record<string, unknown>>) {
    this.#config = config;
  }

  positiveInteger(key: string, fallback?: number): number {
    const value = this.number(key, fallback);
    if (!Number.isInteger(value) || value <= 0) throw new CheckpointError(`config.json: ${key} is ${value}; expected a positive integer.`);
    return value;
  }

  number(key: string, fallback?: number): number {
    const value = this.#config[key] ?? fallback;
    if (value === undefined) throw new CheckpointError(`config.json lacks "${key}". Copy the config.json that belongs to these weights.`);
    if (typeof value !== "number" || !Number.isFinite(value))
      throw new CheckpointError(`config.json: ${key} is ${JSON.stringify(value)}; expected a number.`);
    return value;
  }

  /** A probability of dropout, 0 to below 1. */
  dropout(key: string, fallback: number): number {
    const value = this.number(key, fallback);
    if (value < 0 || value >= 1) throw new CheckpointError(`config.json: ${key} is ${value}; expected a probability from 0 to below 1.`);
    return value;
  }

  /** Undefined where the field is absent or null. */
  optionalNumber(key: string): number | undefined {
    return this.#config[key] === undefined || this.#config[key] === null ? undefined : this.number(key);
  }

  /** Undefined where the field is absent or null. */
  optionalText(key: string): string | undefined {
    const value = this.#config[key] ?? undefined;
    if (value !== undefined && typeof value !== "string")
      throw new CheckpointError(`config.json: ${key} is ${JSON.stringify(value)}; expected a text.`);
    return value as string | undefined;
  }

  /** The same with some fields replaced. */
  with(fields: Readonly<Record<string, unknown>>): ConfigReader {
    return new ConfigReader({ ...this.#config, ...fields });
  }

  /** The id of a special token, the first where config.json lists several. */
  tokenId(key: string, fallback: number): number {
    const value = this.#config[key];
    return (Array.isArray(value) ? this.with({ [key]: value[0] }) : this).number(key, fallback);
  }

  boolean(key: string, fallback: boolean): boolean {
    const value = this.#config[key] ?? fallback;
    if (typeof value !== "boolean") throw new CheckpointError(`config.json: ${key} is ${JSON.stringify(value)}; expected true or false.`);
    return value;
  }

  object(key: string): Readonly<Record<string, unknown>> | undefined {
    const value = this.#config[key] ?? undefined;
    if (value === undefined) return undefined;
    if (typeof value !== "object" || Array.isArray(value))
      throw new CheckpointError(`config.json: ${key} is ${JSON.stringify(value)}; expected an object.`);
    return value as Record<string, unknown>;
  }

  list(key: string): readonly unknown[] | undefined {
    const value = this.#config[key] ?? undefined;
    if (value !== undefined && !Array.isArray(value))
      throw new CheckpointError(`config.json: ${key} is ${JSON.stringify(value)}; expected a list.`);
    return value as readonly unknown[] | undefined;
  }

  requireOneOf(key: string, known: readonly string[], fallback: string): string {
    const value = this.#config[key] ?? fallback;
    if (typeof value === "string" && known.includes(value)) return value;
    throw new UnsupportedError(
      `config.json: ${key} ${JSON.stringify(value)} is not supported for this family; supported: ${known.join(", ")}.`,
    );
  }
}
