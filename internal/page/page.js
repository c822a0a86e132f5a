"use strict";
// The page's own part: files in, the program's verdict out. What comes from a file is
// written by the program, which escapes it; the policy of the page runs no other script.
(() => {
  const $ = (id) => document.getElementById(id);
  const LIMIT = 32 << 20; // bytes of one file, as in the program
  const TITLE = document.title;
  // run is counted up by each new question: what an older one still finds is thrown away.
  const state = { trust: [], bundles: [], results: [], shown: -1, now: null, ready: false, run: 0, trustRun: 0 };

  // plain writes characters that draw nothing, or turn what stands beside them, as the
  // program does: a file's name is a stranger's text too.
  const escaped = (s) => Array.from(s, (c) => {
    const n = c.codePointAt(0).toString(16);
    return n.length > 4 ? "\\u{" + n + "}" : "\\u" + n.padStart(4, "0");
  }).join("");
  const plain = (s) => s.replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800\uFFFD]/gu, escaped)
    .replace(/([\p{Mn}\p{Me}]{4})([\p{Mn}\p{Me}]+)/gu, (_, few, more) => few + escaped(more));
  const names = (files) => {
    const text = files.slice(0, 8).map((f) => plain(f.name).slice(0, 120)).join(", ");
    return files.length > 8 ? text + ", and " + (files.length - 8) + " more" : text;
  };
  // utf8 mends nothing and keeps a byte order mark: the program, which refuses both, reads the same text.
  const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const say = (text) => { $("message").textContent = text; };
  const fail = (text) => { $("error").textContent = text; $("error").hidden = !text; };

  const start = async () => {
    const packed = Uint8Array.from(atob($("program").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const go = new Go();
    const { instance } = await WebAssembly.instantiate(await new Response(stream).arrayBuffer(), go.importObject);
    go.run(instance);
    state.ready = true;
  };

  // clear takes every verdict off the page, before anything else is done: what stands there
  // is never about other files than those that are named.
  const clear = () => {
    state.run++;
    state.results = [];
    state.shown = -1;
    state.now = null;
    $("result").replaceChildren();
    $("list").replaceChildren();
    $("list").hidden = $("progress").hidden = true;
    $("save").disabled = $("print").disabled = true;
    $("result").setAttribute("aria-busy", "false");
    document.title = TITLE;
    fail("");
    return state.run;
  };

  // judged is the program's answer about one file, or why there is none.
  const judged = async (bundle) => {
    if (bundle.size > LIMIT) return { error: plain(bundle.name) + " has more than 32 MiB." };
    let bytes;
    try {
      bytes = new Uint8Array(await bundle.arrayBuffer());
    } catch (e) {
      return { error: plain(bundle.name) + " cannot be read. A folder? Open it and drop the files in it." };
    }
    try {
      return globalThis.eblverify(state.trust.map((t) => t.text), bundle.name, bytes, $("at").value.trim());
    } catch (e) {
      return { error: "The program has ended; load the page again. (" + plain(String(e)) + ")" };
    }
  };

  const display = (i, r) => {
    state.shown = i;
    state.now = r.error ? null : r;
    $("result").replaceChildren();
    fail(r.error || "");
    for (const b of $("list").querySelectorAll("button")) b.setAttribute("aria-current", String(Number(b.dataset.i) === i));
    $("save").disabled = $("print").disabled = !!r.error;
    document.title = r.error ? TITLE : r.verdict + ": " + plain(state.bundles[i].name);
    if (!r.error) $("result").innerHTML = r.content;
  };

  // show judges a file of the list again: a thousand reports are not kept.
  const show = async (i) => {
    const run = state.run;
    display(i, { error: "…" });
    fail("");
    const r = await judged(state.bundles[i]);
    if (run !== state.run || state.shown !== i) return;
    display(i, r);
    say(r.error ? "" : plain(state.bundles[i].name) + ": " + r.verdict);
  };

  const item = (r, i) => {
    const li = document.createElement("li"), b = document.createElement("button");
    const v = document.createElement("span"), n = document.createElement("span");
    v.className = "v " + (r.verdict || "INVALID").split(" ")[0];
    v.textContent = r.verdict || "not judged";
    n.textContent = plain(state.bundles[i].name);
    b.type = "button";
    b.dataset.i = i;
    b.append(v, n);
    b.addEventListener("click", () => show(i));
    li.append(b);
    return li;
  };

  const sum = (results) => {
    const count = new Map();
    for (const r of results) count.set(r.verdict || "not judged", (count.get(r.verdict || "not judged") || 0) + 1);
    return results.length + " files: " + [...count].map(([v, n]) => n + " " + v).join(", ");
  };

  const judge = async () => {
    const run = clear();
    if (!state.ready) return;
    if (!state.trust.length || !state.bundles.length) {
      say(state.trust.length ? "Drop a bundle." : state.bundles.length ? "Drop your trust file: whom do you believe?" : "Drop your trust file, and a bundle.");
      return;
    }
    const many = state.bundles.length > 1, bar = $("progress"), items = document.createElement("ul");
    $("result").setAttribute("aria-busy", "true");
    bar.max = state.bundles.length;
    bar.value = 0;
    bar.hidden = !many;
    say("Checking…");
    let told = Date.now();
    for (let i = 0; i < state.bundles.length; i++) {
      // A turn for the browser: it draws, and a newer question may come.
      await new Promise((r) => setTimeout(r, i === 0 ? 20 : 0));
      if (run !== state.run) return;
      const r = await judged(state.bundles[i]);
      if (run !== state.run) return;
      state.results.push({ verdict: r.verdict, error: r.error });
      if (many) {
        items.append(item(r, i));
        bar.value = i + 1;
        if (Date.now() - told > 2000) { // not each: a screen reader would read every one
          say("Checked " + (i + 1) + " of " + state.bundles.length + " files…");
          told = Date.now();
        }
      }
      if (i === 0) {
        if (many) { $("list").append(items); $("list").hidden = false; }
        display(0, r);
      }
    }
    bar.hidden = true;
    $("result").setAttribute("aria-busy", "false");
    const first = state.results[0];
    say(many ? sum(state.results) : first.error ? "" : plain(state.bundles[0].name) + ": " + first.verdict);
  };

  const take = {
    trust: async (files) => {
      if (!files.length) return;
      clear();
      const mine = ++state.trustRun; // the newest drop counts, however long an older takes to read
      state.trust = [];
      $("drop-trust").classList.remove("have");
      $("state-trust").textContent = "reading…";
      let read = [], why = "";
      try {
        const large = files.find((f) => f.size > LIMIT);
        if (large) why = plain(large.name) + " has more than 32 MiB.";
        else read = await Promise.all(files.map(async (f) => ({ name: f.name, text: utf8.decode(await f.arrayBuffer()) })));
      } catch (e) {
        why = e instanceof TypeError ? "A trust file is not valid UTF-8." : "The trust file cannot be read.";
      }
      if (mine !== state.trustRun) return;
      state.trust = read;
      $("state-trust").textContent = why ? "none" : names(files);
      $("drop-trust").classList.toggle("have", !why);
      judge();
      if (why) fail(why);
    },
    bundle: (files) => {
      if (!files.length) return;
      state.bundles = files;
      $("state-bundle").textContent = names(files);
      $("drop-bundle").classList.add("have");
      judge();
    },
  };

  for (const kind of ["trust", "bundle"]) {
    const zone = $("drop-" + kind);
    // The value is taken away, so that the same file, mended, can be picked again.
    $("pick-" + kind).addEventListener("change", (e) => { const files = [...e.target.files]; e.target.value = ""; take[kind](files); });
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
    const r = state.now;
    if (!r) return;
    const a = document.createElement("a");
    a.href = URL.createObjectURL(new Blob([r.file], { type: "text/html" }));
    a.download = plain(state.bundles[state.shown].name).replace(/\.json$/, "") + "-verdict.html";
    a.click();
    setTimeout(() => URL.revokeObjectURL(a.href), 1000);
  });
  start().then(judge, (e) => { say(""); fail("This browser cannot run the page: " + e); });
})();
