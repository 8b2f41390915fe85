/** Builds the page into the server's package. `built.json` says from which sources, so that a test finds a stale build. */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

const here = fileURLToPath(new URL(".", import.meta.url));
const out = process.env["PAGE_OUT"] ?? fileURLToPath(new URL("../lithophone/page", import.meta.url));
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

/** Where a package's source is kept. */
function origin(path: string): string {
  const { repository } = JSON.parse(readFileSync(join(here, path, "package.json"), "utf8")) as Package;
  const url = typeof repository === "string" ? repository : (repository?.url ?? "");
  return url.replace(/^.*github(?:\.com)?[:/]/u, "https://github.com/").replace(/\.git$/u, "");
}

interface Package {
  readonly repository?: string | { readonly url: string };
}

/** The licences of what is built in: the page's libraries and theirs. */
function licences(): string {
  const lock = JSON.parse(readFileSync(join(here, "package-lock.json"), "utf8")) as Lock;
  const built = Object.entries(lock.packages).filter(([path, { dev, license }]) => path && !dev && license);
  const texts = built.flatMap(([path, { version, license }]) => {
    const file = readdirSync(join(here, path)).find((name) => /^licen[cs]e/iu.test(name));
    const name = path.replace(/^.*node_modules\//u, "");
    const title = `${name} ${version}, ${license}, from ${origin(path)}`;
    return name.startsWith("@types/") || !file ? [] : [`${title}\n\n${readFileSync(join(here, path, file), "utf8").trim()}\n`];
  });
  return texts.join(`\n${"-".repeat(80)}\n\n`);
}

interface Lock {
  readonly packages: Readonly<Record<string, { readonly version: string; readonly license?: string; readonly dev?: boolean }>>;
}

function told(): Plugin {
  return {
    name: "told",
    apply: "build",
    closeBundle() {
      writeFileSync(join(out, "LICENCES.txt"), licences());
      const built = { sources: digests(here, SOURCES), files: digests(out, ["LICENCES.txt", "assets", "index.html"]) };
      writeFileSync(join(out, "built.json"), `${JSON.stringify(built, undefined, 1)}\n`);
    },
  };
}

export default defineConfig({
  base: "./", // a proxy may serve the page under a path of its own
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
