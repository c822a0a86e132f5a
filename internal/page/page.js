"use strict";
// The page's own part: files in, the program's verdict out. What comes from a file is
// written by the program, which escapes it; the policy of the page runs no other script.
(() => {
  const $ = (id) => document.getElementById(id);
  const LIMIT = 32 << 20; // bytes of one file, as in the program
  const state = { trust: [], bundles: [], results: [], shown: -1, ready: false };

  const say = (text, error) => {
    $("message").textContent = text;
    $("message").className = error ? "error" : "";
  };

  const start = async () => {
    const text = $("program").textContent;
    const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const go = new Go();
    const { instance } = await WebAssembly.instantiate(await new Response(stream).arrayBuffer(), go.importObject);
    go.run(instance);
    state.ready = true;
  };

  const show = (i) => {
    state.shown = i;
    const r = state.results[i];
    $("result").replaceChildren();
    for (const b of $("list").children) b.classList.toggle("on", Number(b.dataset.i) === i);
    $("save").disabled = $("print").disabled = !r || !!r.error;
    if (!r) return;
    if (r.error) { say(r.error, true); return; }
    $("result").innerHTML = r.content;
    document.title = r.verdict + ": " + r.name;
  };

  const list = () => {
    const nav = $("list");
    nav.hidden = state.results.length < 2;
    nav.replaceChildren(...state.results.map((r, i) => {
      const b = document.createElement("button");
      const v = document.createElement("span");
      v.className = "v " + (r.verdict || "INVALID").split(" ")[0];
      v.textContent = r.verdict || "not judged";
      b.type = "button";
      b.dataset.i = i;
      b.append(v, r.name);
      b.addEventListener("click", () => show(i));
      return b;
    }));
  };

  // judge lets the page be drawn before it works.
  const judge = () => {
    if (!state.ready || !state.bundles.length || !state.trust.length) {
      show(-1);
      if (state.ready) say(!state.trust.length ? "Drop the trust file: whom do you believe?" : "Drop a bundle.");
      return;
    }
    say("Checking…");
    setTimeout(() => {
      const texts = state.trust.map((t) => t.text);
      state.results = state.bundles.map((b) => ({ name: b.name, ...globalThis.eblverify(texts, b.name, b.bytes, $("at").value.trim()) }));
      list();
      say("");
      show(0);
    }, 20);
  };

  const readable = (files) => {
    const large = files.find((f) => f.size > LIMIT);
    if (large) say(large.name + " has more than 32 MiB.", true);
    return !large;
  };

  const take = {
    trust: async (files) => {
      if (!files.length || !readable(files)) return;
      state.trust = await Promise.all(files.map(async (f) => ({ name: f.name, text: await f.text() })));
      $("state-trust").textContent = state.trust.map((t) => t.name).join(", ");
      $("drop-trust").classList.add("have");
      judge();
    },
    bundle: async (files) => {
      if (!files.length || !readable(files)) return;
      state.bundles = await Promise.all(files.map(async (f) => ({ name: f.name, bytes: new Uint8Array(await f.arrayBuffer()) })));
      $("state-bundle").textContent = state.bundles.map((b) => b.name).join(", ").slice(0, 300);
      $("drop-bundle").classList.add("have");
      judge();
    },
  };

  for (const kind of ["trust", "bundle"]) {
    const zone = $("drop-" + kind);
    $("pick-" + kind).addEventListener("change", (e) => take[kind]([...e.target.files]));
    zone.addEventListener("dragover", (e) => { e.preventDefault(); e.stopPropagation(); zone.classList.add("over"); });
    zone.addEventListener("dragleave", () => zone.classList.remove("over"));
    zone.addEventListener("drop", (e) => {
      e.preventDefault(); e.stopPropagation(); zone.classList.remove("over");
      take[kind]([...e.dataTransfer.files]);
    });
  }
  document.addEventListener("dragover", (e) => e.preventDefault());
  // Whom to trust is set by the one field for it and by nothing else: whoever sent the bundle
  // may have sent a trust file of his own with it.
  document.addEventListener("drop", (e) => { e.preventDefault(); take.bundle([...e.dataTransfer.files]); });
  $("at").addEventListener("change", judge);
  $("print").addEventListener("click", () => globalThis.print());
  $("save").addEventListener("click", () => {
    const r = state.results[state.shown];
    const a = document.createElement("a");
    a.href = URL.createObjectURL(new Blob([r.file], { type: "text/html" }));
    a.download = r.name.replace(/\.json$/, "") + "-verdict.html";
    a.click();
    setTimeout(() => URL.revokeObjectURL(a.href), 1000);
  });
  start().then(judge, (e) => say("This browser cannot run the page: " + e, true));
})();
