/** The second model that an objective compares with: a teacher from disk, or the model as it is before training. */
import { ConfigError } from "../base/errors.ts";
import { type LoadedModel, openModel } from "../execution/loaded-model.ts";
import { type ReferenceModel, snapshot } from "../execution/reference-model.ts";
import { readAdapter } from "../execution/weights/adapter-files.ts";
import type { RunConfig } from "./config.ts";
import type { RunEnvironment } from "./environment.ts";

export interface TeacherConfig {
  readonly teacher: string;
  readonly teacherAdapter?: string;
}

/** Text on which two tokenizers that are not the same are likely to differ. */
const probe = "The quick brown fox, naïve as ever: 3.14 x 10^2 = 314?\n\tdef f(x): return x\n日本語 🙂";

/** @throws ConfigError if the teacher has another vocabulary */
export async function openReference(
  objective: RunConfig["objective"],
  { loaded, environment }: { loaded: LoadedModel; environment: RunEnvironment },
): Promise<ReferenceModel> {
  const { teacher, teacherAdapter } = objective as unknown as TeacherConfig;
  if (teacher === "start") {
    await loaded.store.trained.onHost();
    return snapshot(loaded);
  }
  const opened = await openModel({
    folder: await environment.openModelFolder(teacher),
    backend: loaded.backend,
    ...(teacherAdapter !== undefined && { adapter: await readAdapter(await environment.openModelFolder(teacherAdapter)) }),
  });
  if (opened.fresh.length > 0 && teacherAdapter === undefined)
    throw new ConfigError(
      `objective.teacher: ${teacher} does not hold ${opened.fresh.join(", ")}, so it would teach at random. Name a model with its head for words, or objective.teacherAdapter.`,
    );
  const [own, other] = [loaded.model.vocabSize, opened.model.vocabSize];
  if (own !== other)
    throw new ConfigError(
      `objective.teacher: ${teacher} has a vocabulary of ${other} tokens, the student has ${own}. Distillation compares token by token; choose a teacher of the student's family.`,
    );
  if (loaded.tokenizer.encode(probe).join() !== opened.tokenizer.encode(probe).join())
    throw new ConfigError(
      `objective.teacher: the tokenizer of ${teacher} cuts text into other tokens than the student's, so their predictions cannot be compared. Choose a teacher with the same tokenizer.`,
    );
  return opened;
}
