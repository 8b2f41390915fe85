/** Builds the page into the server's package. `built.json` says from which sources, so that a test finds a stale build. */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

const here = fileURLToPath(new URL(".", import.meta.url));
const out = fileURLToPath(new URL("../lithophone/page", import.meta.url));
const SOURCES = ["index.html", "package-lock.json", "package.json", "src", "tsconfig.json", "vite.config.ts"];

const sha256 = (bytes: Buffer | string): string => createHash("sha256").update(bytes).digest("hex");

function filesUnder(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path).flatMap((name) => filesUnder(join(path, name)));
}

function digests(folder: string, names: readonly string[]): Record<string, string> {
  const files = names.flatMap((name) => filesUnder(join(folder, name)));
  const pairs = files.map((file) => [relative(folder, file), sha256(readFileSync(file))] as const);
  return Object.fromEntries(pairs.toSorted(([one], [other]) => (one < other ? -1 : 1)));
}

function told(): Plugin {
  return {
    name: "told",
    apply: "build",
    closeBundle() {
      const built = { sources: digests(here, SOURCES), files: digests(out, ["index.html", "assets"]) };
      writeFileSync(join(out, "built.json"), `${JSON.stringify(built, undefined, 1)}\n`);
    },
  };
}

export default defineConfig({
  plugins: [told()],
  worker: { format: "es" },
  build: {
    outDir: out,
    emptyOutDir: true,
    target: "es2023",
    assetsInlineLimit: 0, // the Content-Security-Policy allows no `data:`
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: {
      output: { codeSplitting: { groups: [{ name: "wavesurfer", test: /node_modules[\\/]wavesurfer/u }] } },
    },
  },
  test: { include: ["test/**/*.test.ts"] },
});
