/** Removes build output, so that a deleted source leaves nothing behind: node tools/clean.mjs FOLDER */
import { rmSync } from "node:fs";

rmSync(process.argv[2], { recursive: true, force: true });
