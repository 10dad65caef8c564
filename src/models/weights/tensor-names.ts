/** The names under which a tensor may stand in a checkpoint: with or without the name of the module around it, and as old versions wrote it. */

/**
 * Modules that hold a whole model without its head. A bare model (BertModel, GPT2Model) leaves them out; a program that keeps
 * a model inside another (DataParallel, torch.compile, a wrapper) puts one more in front.
 */
const outerModules = ["model", "transformer", "bert", "roberta", "distilbert", "gpt_neox", "module", "_orig_mod"] as const;
const outerModule = new RegExp(`^(${outerModules.join("|")})\\.`);

/** Spellings of a tensor's name, the likeliest first. */
export function* spellingsOf(name: string): Generator<string> {
  for (const base of new Set([name, name.replace(outerModule, "")])) {
    for (const outer of ["", ...outerModules.map((module) => `${module}.`)]) {
      const whole = `${outer}${base}`;
      yield whole;
      yield asTensorFlowWrote(whole);
    }
  }
}

/** The first checkpoints of BERT came from TensorFlow, where a layer norm has gamma and beta. */
const asTensorFlowWrote = (name: string): string =>
  name.replace(
    /(LayerNorm|layer_norm)\.(weight|bias)$/,
    (_, module: string, part: string) => `${module}.${part === "weight" ? "gamma" : "beta"}`,
  );
