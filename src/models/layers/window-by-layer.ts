/** Sliding windows as config.json describes them: `layer_types` where present, else `use_sliding_window` with `max_window_layers`. */
export function windowByLayer(config: Readonly<Record<string, unknown>>): (layer: number) => number | undefined {
  const window = config.use_sliding_window === true && typeof config.sliding_window === "number" ? config.sliding_window : undefined;
  const types = Array.isArray(config.layer_types) ? config.layer_types : undefined;
  const firstWindowed = typeof config.max_window_layers === "number" ? config.max_window_layers : 0;
  return (layer) => ((types ? types[layer] === "sliding_attention" : layer >= firstWindowed) ? window : undefined);
}
