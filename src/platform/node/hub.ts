/**
 * Downloads checkpoints from a Hugging Face hub into the cache that Python's huggingface_hub uses:
 * models--org--name/{blobs,refs,snapshots}, blobs by their hash, snapshots as links. Downloads resume, and every blob is
 * verified against its hash. HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE are respected.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { access, mkdir, open, readFile, rename, rm, stat, symlink } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, relative } from "node:path";
import { HubError } from "../../base/errors.ts";
import { explainWriteError, writeFileAtomic } from "./files.ts";

export interface HubProgress {
  readonly file: string;
  readonly receivedBytes: number;
  readonly totalBytes: number;
}

export interface HubOptions {
  /** Environment variables; default: the process's. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  onProgress?(progress: HubProgress): void;
}

const namePattern = /^([\w-][\w.-]*\/[\w.-]+)(?:@(.+))?$/;
const wanted =
  /^(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|vocab|added_tokens)\.json$|^(merges|vocab)\.txt$|^chat_template\.jinja$|^(tokenizer|spiece)\.model$|^model.*\.safetensors(\.index\.json)?$/;
const attempts = 4;

export const isHubName = (model: string): boolean => namePattern.test(model);

/** The folder of a snapshot, downloaded where it is not there yet. @param model `org/model` or `org/model@revision`
 * @throws HubError if the model is not there, may not be read, is damaged, or the hub cannot be reached and nothing is cached */
export async function downloadModel(model: string, { environment = process.env, onProgress = () => {} }: HubOptions = {}): Promise<string> {
  const [, id, revision = "main"] = namePattern.exec(model)!;
  const hub = await openHub(environment);
  const cache = join(hub.cache, `models--${id!.replace("/", "--")}`);
  const cached = await cachedSnapshot(cache, revision);
  if (hub.offline) {
    if (cached) return cached;
    throw new HubError(
      `${model} is not in the cache (${cache}) and HF_HUB_OFFLINE is set. Download it once without HF_HUB_OFFLINE, or name a local folder.`,
    );
  }
  let info: { sha: string; siblings: { rfilename: string }[] };
  try {
    const response = await request(hub, { path: `/api/models/${id}/revision/${encodeURIComponent(revision)}`, model });
    info = (await response.json()) as typeof info;
  } catch (error) {
    // Without a network, what is cached still serves, as with huggingface_hub.
    if (cached && HubError.isInstance(error) && error.message.includes("cannot be reached")) return cached;
    throw error;
  }
  const snapshot = join(cache, "snapshots", info.sha);
  const all = info.siblings.map(({ rfilename }) => rfilename).filter((file) => wanted.test(file));
  const files = all.includes("model.safetensors") ? all.filter((file) => !/^model-.*\.safetensors$|\.index\.json$/.test(file)) : all;
  for (const file of files) await fetchFile({ hub, id: id!, commit: info.sha, file, cache, snapshot, model, onProgress });
  if (revision !== info.sha) await writeFileAtomic(join(cache, "refs", revision), info.sha);
  return snapshot;
}

interface Hub {
  readonly endpoint: string;
  readonly cache: string;
  readonly token: string | undefined;
  readonly offline: boolean;
}

/** Where Python's huggingface_hub keeps what it downloads, and the token. */
export const huggingFaceHome = (environment: Readonly<Record<string, string | undefined>>): string =>
  environment.HF_HOME ?? join(environment.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "huggingface");

async function openHub(environment: Readonly<Record<string, string | undefined>>): Promise<Hub> {
  const home = huggingFaceHome(environment);
  const stored = await readFile(environment.HF_TOKEN_PATH ?? join(home, "token"), "utf8").catch(() => undefined);
  return {
    endpoint: (environment.HF_ENDPOINT ?? "https://huggingface.co").replace(/\/$/, ""),
    cache: environment.HF_HUB_CACHE ?? join(home, "hub"),
    token: environment.HF_TOKEN ?? stored?.trim(),
    offline: ["1", "true", "yes", "on"].includes((environment.HF_HUB_OFFLINE ?? "").toLowerCase()),
  };
}

async function cachedSnapshot(cache: string, revision: string): Promise<string | undefined> {
  const commit = (await readFile(join(cache, "refs", revision), "utf8").catch(() => revision)).trim();
  const path = join(cache, "snapshots", commit);
  return (await exists(join(path, "config.json"))) ? path : undefined;
}

interface FileRequest {
  readonly hub: Hub;
  readonly id: string;
  readonly commit: string;
  readonly file: string;
  readonly cache: string;
  readonly snapshot: string;
  readonly model: string;
  onProgress(progress: HubProgress): void;
}

async function fetchFile(options: FileRequest): Promise<void> {
  const { hub, id, commit, file, cache, snapshot, model } = options;
  const link = join(snapshot, file);
  if (await exists(link)) return;
  const path = `/${id}/resolve/${commit}/${file}`;
  // The first answer names the blob; large files are then redirected to a store that knows nothing of the hub's headers.
  const head = await request(hub, { path, model, method: "HEAD", redirect: "manual" });
  const etag = (head.headers.get("x-linked-etag") ?? head.headers.get("etag") ?? "").replace(/^W\//, "").replaceAll('"', "");
  if (etag === "")
    throw new HubError(`${model}: the hub sent no hash for ${file}, so it cannot be verified. Check HF_ENDPOINT (${hub.endpoint}).`);
  const totalBytes = Number(head.headers.get("x-linked-size") ?? head.headers.get("content-length") ?? 0);
  const blob = join(cache, "blobs", etag);
  if (!(await exists(blob))) await downloadBlob({ ...options, path, etag, blob, totalBytes });
  await mkdir(dirname(link), { recursive: true });
  await symlink(relative(dirname(link), blob), link).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw explainWriteError(link, error); // another process was faster
  });
}

async function downloadBlob(options: FileRequest & { path: string; etag: string; blob: string; totalBytes: number }): Promise<void> {
  const { hub, path, etag, blob, file, model, totalBytes, onProgress } = options;
  const incomplete = `${blob}.incomplete`;
  await mkdir(dirname(blob), { recursive: true });
  for (let attempt = 1; ; attempt++) {
    try {
      await appendRest({ hub, path, incomplete, model, onReceived: (receivedBytes) => onProgress({ file, receivedBytes, totalBytes }) });
      const actual = await hashOf(incomplete, etag);
      if (actual === undefined || actual === etag) break;
      await rm(incomplete, { force: true });
      if (attempt >= 2)
        throw new HubError(
          `${model}: ${file} arrived damaged twice (expected ${etag.slice(0, 12)}..., got ${actual.slice(0, 12)}...). Try again later, or from another network.`,
        );
    } catch (error) {
      if (HubError.isInstance(error) && !error.message.includes("broke off")) throw error;
      if ((error as { code?: string }).code === "disk-full" || attempt >= attempts) throw error;
      await pause(attempt);
    }
  }
  await rename(incomplete, blob);
}

/** Continues a download where it stopped. */
async function appendRest({
  hub,
  path,
  incomplete,
  model,
  onReceived,
}: {
  hub: Hub;
  path: string;
  incomplete: string;
  model: string;
  onReceived(bytes: number): void;
}): Promise<void> {
  const have = await stat(incomplete).then(
    ({ size }) => size,
    () => 0,
  );
  const response = await request(hub, { path, model, ...(have > 0 && { headers: { range: `bytes=${have}-` } }) });
  if (response.status === 416) return; // all of it is there
  const resumes = response.status === 206;
  const handle = await open(incomplete, resumes ? "a" : "w");
  let received = resumes ? have : 0;
  try {
    for await (const piece of response.body as unknown as AsyncIterable<Uint8Array>) {
      await handle.writeFile(piece).catch((error: unknown) => {
        throw explainWriteError(incomplete, error);
      });
      received += piece.length;
      onReceived(received);
    }
    await handle.sync();
  } catch (error) {
    if ((error as { code?: string }).code === "disk-full") throw error;
    throw new HubError(`${model}: the download of ${path} broke off after ${received} bytes.`, { cause: error });
  } finally {
    await handle.close();
  }
}

/** The hash of the kind that an etag is: SHA-256 for large files, Git's blob hash for small ones; undefined where it is neither. */
async function hashOf(path: string, etag: string): Promise<string | undefined> {
  const isSha256 = /^[0-9a-f]{64}$/.test(etag);
  if (!isSha256 && !/^[0-9a-f]{40}$/.test(etag)) return undefined;
  const hash = createHash(isSha256 ? "sha256" : "sha1");
  if (!isSha256) hash.update(`blob ${(await stat(path)).size}\0`);
  for await (const piece of createReadStream(path)) hash.update(piece as Buffer);
  return hash.digest("hex");
}

interface HubRequest {
  readonly path: string;
  readonly model: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly redirect?: RequestRedirect;
}

async function request(
  { endpoint, token }: Hub,
  { path, model, method = "GET", headers = {}, redirect = "follow" }: HubRequest,
): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    let response: Response;
    try {
      response = await fetch(`${endpoint}${path}`, {
        method,
        redirect,
        headers: { ...headers, ...(token && { authorization: `Bearer ${token}` }) },
      });
    } catch (error) {
      if (attempt < attempts) {
        await pause(attempt);
        continue;
      }
      throw new HubError(
        `${model}: ${endpoint} cannot be reached (${((error as Error).cause as Error | undefined)?.message ?? (error as Error).message}). Check the network and HF_ENDPOINT, or name a local folder.`,
        { cause: error },
      );
    }
    if (response.ok || (response.status >= 300 && response.status < 400) || response.status === 416) return response;
    if (response.status >= 500 && attempt < attempts) {
      await pause(attempt);
      continue;
    }
    throw new HubError(explainStatus({ status: response.status, model, endpoint, hasToken: token !== undefined }));
  }
}

function explainStatus({
  status,
  model,
  endpoint,
  hasToken,
}: {
  status: number;
  model: string;
  endpoint: string;
  hasToken: boolean;
}): string {
  if (status === 401 || status === 403) {
    return `${model}: ${endpoint} refuses access (${status}). ${hasToken ? "The token may lack access: accept the model's conditions on its page, or use another token." : "The model is private, gated or does not exist: set HF_TOKEN to a token that may read it."}`;
  }
  if (status === 404)
    return `${model} is not on ${endpoint} (404): no such model or revision. Check the spelling; a revision follows an @, as in org/model@main.`;
  return `${model}: ${endpoint} answered ${status}. Try again later.`;
}

const pause = (attempt: number): Promise<void> => new Promise((done) => setTimeout(done, 200 * 2 ** attempt));
const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
