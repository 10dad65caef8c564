/** A hub on loopback: the routes, headers and redirects that downloads meet, and faults on demand. */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface HubServer {
  readonly endpoint: string;
  /** "METHOD path" of every request. */
  readonly requests: string[];
  /** Breaks the next download of a file off after this many bytes. */
  cutNext?: { file: string; after: number } | undefined;
  /** Sends other bytes than the hash promises, this many times. */
  corruptTimes: number;
  failTimes: number;
  requiredToken?: string;
  close(): Promise<void>;
}

export const commit = "0123456789abcdef0123456789abcdef01234567";

export async function startHubServer(id: string, files: Readonly<Record<string, Buffer>>): Promise<HubServer> {
  const state: HubServer = { endpoint: "", requests: [], corruptTimes: 0, failTimes: 0, close: async () => {} };
  const isLarge = (file: string): boolean => file.endsWith(".safetensors");
  const sha256 = (content: Buffer): string => createHash("sha256").update(content).digest("hex");
  const gitHash = (content: Buffer): string => createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");

  function send(file: string, { request, response }: { request: IncomingMessage; response: ServerResponse }): void {
    let content = files[file]!;
    if (state.corruptTimes > 0 && request.method === "GET") {
      state.corruptTimes--;
      content = Buffer.from(content).fill(7, 0, 4);
    }
    const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const rest = content.subarray(start);
    response.writeHead(start > 0 ? 206 : 200, {
      "content-length": rest.length,
      ...(isLarge(file) ? {} : { etag: `"${gitHash(files[file]!)}"` }),
    });
    const cut = state.cutNext?.file === file ? state.cutNext : undefined;
    if (request.method === "HEAD") response.end();
    else if (cut) {
      state.cutNext = undefined;
      response.write(rest.subarray(0, cut.after), () => response.destroy());
    } else response.end(rest);
  }

  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url!);
    state.requests.push(`${request.method} ${path}`);
    const status = (code: number): void => void response.writeHead(code).end();
    if (state.failTimes > 0) {
      state.failTimes--;
      return status(503);
    }
    if (state.requiredToken && !path.startsWith("/store/") && request.headers.authorization !== `Bearer ${state.requiredToken}`)
      return status(401);
    if (path === `/api/models/${id}/revision/main` || path === `/api/models/${id}/revision/${commit}`) {
      response.writeHead(200, { "content-type": "application/json" });
      return void response.end(JSON.stringify({ sha: commit, siblings: Object.keys(files).map((rfilename) => ({ rfilename })) }));
    }
    const file = path.split("/").at(-1)!;
    if (!(file in files)) return status(404);
    if (path === `/${id}/resolve/${commit}/${file}`) {
      if (!isLarge(file)) return send(file, { request, response });
      const content = files[file]!;
      return void response
        .writeHead(302, {
          location: `/store/${file}`,
          "x-linked-etag": `"${sha256(content)}"`,
          "x-linked-size": content.length,
          "x-repo-commit": commit,
        })
        .end();
    }
    return path === `/store/${file}` ? send(file, { request, response }) : status(404);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return Object.assign(state, {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise<void>((done) => {
        server.closeAllConnections();
        server.close(() => done());
      }),
  });
}
