/**
 * The one tree of errors. A message says what happened with the values seen, what was expected, and what to do.
 * `code` is stable and machine readable; `isInstance` survives duplicate copies of the package, where `instanceof` fails.
 */
const marker = Symbol.for("tunesmith.error");

export class TunesmithError extends Error {
  readonly code: string;
  readonly [marker] = true;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.name = new.target.name;
  }
  static isInstance(error: unknown): error is TunesmithError {
    return typeof error === "object" && error !== null && marker in error;
  }
}

/** The user's configuration is wrong; carries every problem found, not only the first. Exit code 2. */
export class ConfigError extends TunesmithError {
  readonly problems: readonly string[];
  constructor(problems: readonly string[] | string, options?: ErrorOptions) {
    const list = typeof problems === "string" ? [problems] : problems;
    super(
      "config",
      list.length === 1 ? list[0]! : `${list.length} problems in the configuration:\n${list.map((p) => `  - ${p}`).join("\n")}`,
      options,
    );
    this.problems = list;
  }
}
/** A dataset, row or token is unusable. The message names file and line. */
export class DataError extends TunesmithError {
  constructor(message: string, options?: ErrorOptions) {
    super("data", message, options);
  }
}
/** Tensor shapes or dtypes do not fit. */
export class ShapeError extends TunesmithError {
  constructor(message: string, options?: ErrorOptions) {
    super("shape", message, options);
  }
}
/** A model file (config.json, safetensors, adapter, training checkpoint) is missing, damaged or contradicts itself. */
export class CheckpointError extends TunesmithError {
  constructor(message: string, options?: ErrorOptions) {
    super("checkpoint", message, options);
  }
}
/** The thing asked for exists but is not supported here. */
export class UnsupportedError extends TunesmithError {
  constructor(message: string, options?: ErrorOptions) {
    super("unsupported", message, options);
  }
}
/** A device or its runtime failed. */
export class BackendError extends TunesmithError {
  constructor(message: string, options?: ErrorOptions) {
    super("backend", message, options);
  }
}
/** The hub could not be reached, refused, or sent something damaged. */
export class HubError extends TunesmithError {
  constructor(message: string, options?: ErrorOptions) {
    super("hub", message, options);
  }
}
/** Training went wrong numerically (NaN, infinity, divergence). */
export class DivergenceError extends TunesmithError {
  constructor(message: string, options?: ErrorOptions) {
    super("divergence", message, options);
  }
}
