package page_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eblnode/judge"
)

// harness is a page beside ours that drops files on it, as a person does, and tells what
// is then to be seen.
const harness = `<!doctype html><meta charset="utf-8"><iframe id="f" src="page.html" style="width:WIDTHpx;height:900px;border:0"></iframe><script>
const CASES = INPUT;
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
(async () => {
  const f = document.getElementById("f"), out = [];
  try {
    await new Promise((r) => f.addEventListener("load", r));
    const w = f.contentWindow, d = f.contentDocument, $ = (id) => d.getElementById(id);
    const until = async (what, is) => { for (let i = 0; i < 4800; i++) { if (is()) return; await sleep(25); } throw new Error("waited for " + what + "; the page says: " + $("message").textContent + " " + $("error").textContent); };
    await until("the program", () => w.eblverify);
    await sleep(100);
    const bytes = (b64) => Uint8Array.from(atob(b64), (c) => c.charCodeAt(0));
    const file = (name, b64) => new w.File([bytes(b64)], name, { type: "application/json" });
    const text = (s) => btoa(unescape(encodeURIComponent(s)));
    // A DataTransfer copies its files; what a test changes about one must stay.
    const drop = (id, ...files) => {
      const e = new w.DragEvent("drop", { bubbles: true, cancelable: true });
      Object.defineProperty(e, "dataTransfer", { value: { files } });
      (id ? $(id) : d.body).dispatchEvent(e);
    };
    SCRIPT
  } catch (e) { out.push({ error: String(e) }); }
  await fetch("ANSWER", { method: "POST", body: JSON.stringify(out) });
})();
</script>`

// inChromium runs a script beside the page in a real browser, opened from a file, and reads
// what it pushed to out.
func inChromium(t *testing.T, width, script string, cases, out any) {
	t.Helper()
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("there is no Chromium")
	}
	file := thePage(t)
	text, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan []byte, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		select {
		case answers <- body:
		default:
		}
	}))
	defer server.Close()
	name := filepath.Join(filepath.Dir(file), "harness-"+width+"-"+strings.ReplaceAll(t.Name(), "/", "-")+".html")
	page := strings.NewReplacer("WIDTH", width, "INPUT", string(text), "SCRIPT", script, "ANSWER", server.URL).Replace(harness)
	if err := os.WriteFile(name, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	// The two last flags let the harness look into the page; the page needs neither.
	c := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--user-data-dir="+profileFolder(t), "--window-size=1100,1000", "--remote-debugging-port=0",
		"--allow-file-access-from-files", "--disable-web-security", "file://"+name)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var result []byte
	select {
	case result = <-answers:
	case <-ctx.Done():
	}
	cancel()
	_ = c.Wait()
	if err := json.Unmarshal(result, out); err != nil {
		t.Fatalf("width %s: got %v: %.2000s", width, err, result)
	}
}

// profileFolder is for a browser, whose helpers still write there for a moment after it was
// killed: to find it not empty is no failure.
func profileFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "eblverify-page-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 50 {
			if os.RemoveAll(dir) == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Logf("%s is left", dir)
	})
	return dir
}

// picked are vectors by name, as files, with our own verdicts.
func picked(t *testing.T, names ...string) (some []verdictCase, verdicts []judge.Verdict) {
	t.Helper()
	in, want := cases(t)
	for _, name := range names {
		for i, c := range in {
			if c.Name == "bundle/"+name {
				c.Name = name + ".json"
				some, verdicts = append(some, c), append(verdicts, want[i].Report.Verdict)
			}
		}
	}
	if len(some) != len(names) {
		t.Fatalf("got %d vectors of %v", len(some), names)
	}
	return some, verdicts
}

// TestPageInChromium drops vectors on the page in the width of a small phone and of a desk.
func TestPageInChromium(t *testing.T) {
	some, verdicts := picked(t, "go-valid-1", "go-bad-link-previous-1", "go-forked-signed-twice-1", "go-malformed-json-1")
	for _, width := range []string{"360", "1000"} {
		var got []struct {
			Title, Heading, Message, Error string
			Picture, Injected              bool
			Wide, Width                    int
		}
		inChromium(t, width, `
    for (const c of CASES) {
      $("at").value = c.at;
      drop("drop-trust", file("trust.json", text(c.trust[0])));
      drop("drop-bundle", file(c.name, c.body));
      await until(c.name, () => d.title.endsWith(": " + c.name));
      out.push({ title: d.title, heading: (d.querySelector("#result h1") || {}).textContent, picture: !!d.querySelector(".journey svg"),
        wide: d.documentElement.scrollWidth, width: d.documentElement.clientWidth, injected: !!w.injected || !!d.querySelector("#result script"), message: $("message").textContent });
    }`, some, &got)
		if len(got) != len(some) {
			t.Fatalf("width %s: got %d results: %+v", width, len(got), got)
		}
		for i, g := range got {
			malformed := strings.Contains(some[i].Name, "malformed")
			if g.Error != "" || g.Title != string(verdicts[i])+": "+some[i].Name || g.Heading != string(verdicts[i]) || g.Picture == malformed || g.Injected {
				t.Errorf("width %s, %s: got %+v, want %s", width, some[i].Name, g, verdicts[i])
			}
			if g.Wide > g.Width {
				t.Errorf("width %s, %s: the page is %d wide and scrolls in %d", width, some[i].Name, g.Wide, g.Width)
			}
		}
	}
}

// asAPerson does what people do in a hurry, and what somebody does who wants to be misread.
const asAPerson = `
    const check = (what, ok, got) => out.push({ what, ok: !!ok, got: String(got) });
    const [good, bad, other] = CASES, trust = text(good.trust[0]);
    const empty = () => !$("result").textContent && $("save").disabled && $("print").disabled && !/VALID|INDETERMINATE/.test(d.title) && $("list").hidden;
    const shows = (verdict, name) => d.title === verdict + ": " + name && (d.querySelector("#result h1") || {}).textContent === verdict;
    $("at").value = good.at;

    drop("drop-bundle", file("one.json", good.body));
    await until("a word", () => /trust file/.test($("message").textContent));
    check("a bundle without a trust file has no verdict", empty(), d.title);
    drop("drop-trust", file("trust.json", trust));
    await until("the verdict", () => shows("VALID", "one.json"));
    check("bundle first, then trust: it is announced", /one\.json: VALID/.test($("message").textContent) && $("message").getAttribute("role") === "status", $("message").textContent);

    drop("drop-bundle", file("two.json", bad.body));
    check("while the next is judged the last verdict is gone", empty(), d.title);
    await until("the next", () => shows("INVALID", "two.json"));
    $("at").value = "yesterday";
    $("at").dispatchEvent(new w.Event("change"));
    check("another time takes the verdict away", empty(), d.title);
    await until("the error", () => !$("error").hidden);
    check("no time: an alert and no verdict", empty() && $("error").getAttribute("role") === "alert", $("error").textContent);
    $("at").value = good.at;
    const broken = file("trust2.json", text("{"));
    drop("drop-trust", broken);
    await until("the alert", () => /trust/.test($("error").textContent));
    check("no trust file: no verdict", empty(), d.title);

    for (const [what, start] of [["a byte order mark", [0xef, 0xbb, 0xbf]], ["no UTF-8", [0x20, 0xff]]]) {
      const start64 = btoa(String.fromCharCode(...start) + atob(trust));
      drop("drop-trust", file("trust.json", trust));
      await until("the verdict", () => shows("INVALID", "two.json"));
      drop("drop-trust", file("marked.json", start64));
      await until("the alert", () => /trust file/i.test($("error").textContent));
      check("a trust file with " + what + " is refused, as by the program", empty(), $("error").textContent);
    }

    const slow = file("slow.json", text("[]"));
    slow.arrayBuffer = () => new Promise((r) => setTimeout(() => r(bytes(text("[]")).buffer), 400));
    drop("drop-trust", slow);
    drop("drop-trust", file("trust.json", trust));
    await until("the verdict again", () => shows("INVALID", "two.json"));
    await sleep(600);
    check("a trust file that took longer to read does not replace a newer one", shows("INVALID", "two.json") && $("state-trust").textContent === "trust.json", d.title + " by " + $("state-trust").textContent);

    const folder = file("folder", good.body);
    folder.arrayBuffer = () => Promise.reject(new Error("no"));
    drop("drop-bundle", folder);
    await until("the alert", () => /cannot be read/.test($("error").textContent));
    check("what cannot be read has no verdict", empty(), d.title);
    const large = file("large.json", good.body);
    Object.defineProperty(large, "size", { value: 33 << 20 });
    drop("drop-bundle", large);
    await until("the alert", () => /32 MiB/.test($("error").textContent));
    check("what is too large has no verdict", empty(), d.title);

    const evil = "good\u202enosj.dilav\u0007\u200b<img src=x>.json";
    drop("", file(evil, bad.body));
    await until("the verdict", () => d.title.startsWith("INVALID"));
    const seen = d.title + $("state-bundle").textContent + $("message").textContent + $("result").textContent;
    check("a file's name is shown escaped", !/[\u202e\u0007\u200b]/.test(seen) && seen.split("good\\u202enosj.dilav\\u0007\\u200b<img").length === 5 && !d.querySelector("img"), seen.slice(0, 300));
    check("a file dropped beside the fields is a bundle, never trust", $("state-trust").textContent === "trust.json", $("state-trust").textContent);

    const many = [];
    for (let i = 0; i < 40; i++) many.push(file(i === 3 ? evil : "n" + i + ".json", [good, bad, other][i % 3].body));
    drop("drop-bundle", ...many);
    await until("the progress", () => !$("progress").hidden && $("progress").value > 0 && $("progress").value < 40);
    check("progress is shown, with a name", $("progress").max === 40 && $("progress").getAttribute("aria-label"), $("progress").max);
    await until("all", () => /^40 files: /.test($("message").textContent));
    check("the sum is told", $("message").textContent === "40 files: 14 VALID, 13 INVALID, 13 INDETERMINATE", $("message").textContent);
    const buttons = [...d.querySelectorAll("#list button")];
    check("a list of all, the first shown", buttons.length === 40 && $("progress").hidden && shows("VALID", "n0.json") && buttons[0].getAttribute("aria-current") === "true", buttons.length);
    check("names of the list are escaped", !/\u202e/.test($("list").textContent) && $("list").textContent.includes("\\u202e"), "");
    buttons[1].click();
    check("another of the list: the last is gone at once", !$("result").textContent && $("save").disabled, d.title);
    await until("the second", () => shows("INVALID", "n1.json"));
    check("the second is current", buttons[1].getAttribute("aria-current") === "true" && buttons[0].getAttribute("aria-current") === "false", "");
    check("long names and lists do not make the page scroll sideways", d.documentElement.scrollWidth <= d.documentElement.clientWidth, d.documentElement.scrollWidth);

    drop("drop-bundle", ...many);
    await until("some", () => $("progress").value > 2);
    drop("drop-bundle", file("late.json", bad.body));
    check("a new file ends the work on many", empty(), d.title);
    await until("the late one", () => shows("INVALID", "late.json"));
    await sleep(500);
    check("and nothing of them comes back", shows("INVALID", "late.json") && $("list").hidden && /late\.json: INVALID/.test($("message").textContent), $("message").textContent);

    for (const e of d.querySelectorAll("input,button"))
      check("has a name and is reached by the keyboard: " + (e.id || e.textContent), (e.labels && e.labels.length > 0 && e.labels[0].textContent.trim() || e.textContent.trim()) && e.tabIndex === 0, e.outerHTML);
    $("pick-bundle").focus();
    check("the field that has the keyboard is seen", d.activeElement === $("pick-bundle") && w.getComputedStyle($("drop-bundle")).outlineStyle !== "none", w.getComputedStyle($("drop-bundle")).outline);
    for (const e of d.querySelectorAll("[role=region],nav,section.ask,progress,.scroll"))
      check("a part has a name: " + e.outerHTML.slice(0, 60), e.getAttribute("aria-label") || d.getElementById(e.getAttribute("aria-labelledby")), e.outerHTML.slice(0, 80));
    check("each row of the picture is told in words", [...d.querySelectorAll(".journey svg")].every((s) => s.getAttribute("role") === "img" && s.getAttribute("aria-label")), "");
    check("what scrolls is reached by the keyboard", [...d.querySelectorAll(".scroll")].every((s) => s.tabIndex === 0), "");
    check("the page names its language", d.documentElement.lang === "en", d.documentElement.lang);
`

// TestPageAsPeopleUseIt: in any order, in a hurry, with many files, by keyboard, and with names
// that lie.
func TestPageAsPeopleUseIt(t *testing.T) {
	some, verdicts := picked(t, "go-valid-1", "go-bad-link-previous-1", "go-forked-signed-twice-1")
	if verdicts[0] != judge.Valid || verdicts[1] != judge.Invalid || verdicts[2] != judge.Indeterminate || some[0].Trust[0] != some[1].Trust[0] || some[0].Trust[0] != some[2].Trust[0] {
		t.Fatalf("got %v, want one of each by the same trust file", verdicts)
	}
	var got []struct {
		What, Got, Error string
		OK               bool
	}
	inChromium(t, "360", asAPerson, some, &got)
	if len(got) < 30 {
		t.Errorf("got %d checks", len(got))
	}
	for _, g := range got {
		if g.Error != "" || !g.OK {
			t.Errorf("%s: no; %s %s", g.What, g.Got, g.Error)
		}
	}
}
