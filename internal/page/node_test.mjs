// Runs the page's own program under Node: the very bytes that the page carries.
// Usage: node node_test.mjs page.html < cases.json, one JSON object on standard output.
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

const html = readFileSync(process.argv[2], "utf8");
const cut = (from, to) => {
  const start = html.indexOf(from);
  if (start < 0) throw new Error("the page has no " + from);
  return html.slice(start + from.length, html.indexOf(to, start + from.length));
};
(0, eval)(cut("<script>", "</script>")); // wasm_exec.js
const packed = Buffer.from(cut('<script type="application/octet-stream" id="program">', "</script>"), "base64");
const go = new globalThis.Go();
const { instance } = await WebAssembly.instantiate(gunzipSync(packed), go.importObject);
go.run(instance);
const cases = JSON.parse(readFileSync(0, "utf8"));
const out = cases.map((c) => {
  const r = globalThis.eblverify(c.trust, c.name, new Uint8Array(Buffer.from(c.body, "base64")), c.at);
  return r.error ? { error: r.error } : { verdict: r.verdict, report: JSON.parse(r.json), content: r.content.length, file: r.file };
});
process.stdout.write(JSON.stringify(out), () => process.exit(0));
