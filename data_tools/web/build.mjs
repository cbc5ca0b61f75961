// Bundles the page into dist/, with the licences of what is in it.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { cp, mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";

const out = "dist.part";
await rm(out, { recursive: true, force: true });
await mkdir(out);

const sources = (await readdir("src")).sort();
const hash = createHash("sha256");
for (const file of [...sources.map((name) => `src/${name}`), "package-lock.json"]) hash.update(await readFile(file));
const id = hash.digest("hex").slice(0, 12);

const result = await build({
  entryPoints: ["src/experiment.js"],
  bundle: true,
  minify: true,
  metafile: true,
  legalComments: "none",
  target: "es2020",
  define: { BUILD: JSON.stringify(id) },
  outfile: `${out}/experiment.js`,
});
await cp("src/index.html", `${out}/index.html`);
await cp("src/experiment.css", `${out}/experiment.css`);

const packages = new Set(
  Object.keys(result.metafile.inputs)
    .map((path) => path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)/)?.[1])
    .filter(Boolean),
);
const mit = (await readFile("../../LICENSE", "utf8")).split(/\n\n/).slice(2).join("\n\n"); // without our name
const texts = [];
for (const name of [...packages].sort()) {
  const folder = `node_modules/${name}`;
  const { version, license, author } = JSON.parse(await readFile(`${folder}/package.json`));
  const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
  if (!file && license !== "MIT") throw new Error(`${name} has no licence file, and is not under the MIT licence`);
  const text = file
    ? await readFile(`${folder}/${file}`, "utf8")
    : `MIT License\n\nCopyright (c) ${author?.name ?? author}\n\n${mit}`;
  texts.push(`${name} ${version}\n\n${text.trim()}\n`);
}
await writeFile(`${out}/LICENSES.txt`, texts.join(`\n${"-".repeat(80)}\n\n`));
await rm("dist", { recursive: true, force: true });
await rename(out, "dist");
console.log(`dist: build ${id}, with ${[...packages].join(", ")}`);
