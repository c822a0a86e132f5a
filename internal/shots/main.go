// Shots makes the pictures of docs/: reports of eblverify as a browser shows them, on a desk
// and on a phone. It needs Chromium.
//
//	go run ./internal/shots               # in the folder of the module: the pictures of docs/
//	go run ./internal/shots -all FOLDER   # every case in every width, dark, and on paper
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"eblnode/internal/report"
	"eblnode/judge"
)

func main() {
	all := flag.String("all", "", "write every case in every width to this folder, to be looked at")
	only := flag.String("case", "", "with -all: this case alone")
	flag.Parse()
	if err := run(*all, *only); err != nil {
		fmt.Fprintln(os.Stderr, "shots:", err)
		os.Exit(1)
	}
}

// A shot is one picture: a case, how wide, and which parts of the page; nil: all.
type shot struct {
	file  string
	of    string
	width int
	parts []int
	dark  bool
}

// docs are the pictures of the repository; each ends where a part of the page ends.
var docs = []shot{
	{file: "report.png", of: "valid", width: 880, parts: []int{0, 1, 2}},
	{file: "report-checks.png", of: "valid", width: 880, parts: []int{3, 4, 5}},
	{file: "report-phone.png", of: "valid", width: 360, parts: []int{0, 1, 2}},
	{file: "report-broken.png", of: "broken-link", width: 880, parts: []int{0, 1}},
	{file: "report-fork.png", of: "fork", width: 880, parts: []int{0, 1, 2}, dark: true},
}

func run(all, only string) error {
	dir, err := os.MkdirTemp("", "shots-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	pages, err := reports(dir)
	if err != nil {
		return err
	}
	if all == "" {
		for _, s := range docs {
			if err := s.take(pages[s.of], filepath.Join("docs", s.file), dir); err != nil {
				return err
			}
		}
		return nil
	}
	if err := os.MkdirAll(all, 0o755); err != nil {
		return err
	}
	for name, page := range pages {
		if only != "" && only != name {
			continue
		}
		for _, width := range []int{360, 768, 1280} {
			s := shot{width: width}
			if err := s.take(page, filepath.Join(all, fmt.Sprintf("%s-%d.png", name, width)), dir); err != nil {
				return err
			}
		}
		s := shot{width: 768, dark: true}
		if err := s.take(page, filepath.Join(all, name+"-dark.png"), dir); err != nil {
			return err
		}
		if _, err := chromium(dir, "--no-pdf-header-footer", "--print-to-pdf="+filepath.Join(all, name+".pdf"), "file://"+page); err != nil {
			return err
		}
	}
	return nil
}

// reports writes the page of each case.
func reports(dir string) (map[string]string, error) {
	list, err := cases()
	if err != nil {
		return nil, err
	}
	pages := map[string]string{}
	for _, c := range list {
		r := judge.File(c.body, judge.Options{Trust: c.trust, Now: c.at, Journey: true})
		r.File = c.file
		if string(r.Verdict) != c.verdict || r.Rule != c.rule {
			return nil, fmt.Errorf("%s: got %s %s (%s), want %s %s", c.name, r.Verdict, r.Rule, r.Detail, c.verdict, c.rule)
		}
		html, err := report.HTML(report.Input{Report: r, Trust: c.trust, At: c.at, Maker: "eblverify"})
		if err != nil {
			return nil, err
		}
		pages[c.name] = filepath.Join(dir, c.name+".html")
		if err := os.WriteFile(pages[c.name], html, 0o600); err != nil {
			return nil, err
		}
	}
	return pages, nil
}

// frame shows a page as narrow as it is said to be, which the browser's own window may not
// be, and only the parts that are wanted; it says how high that is, and whether it overflows.
const frame = `<!doctype html><body style="margin:0"><iframe id="f" src="%s" style="border:0;display:block;width:%dpx;height:%dpx"></iframe><p id="said"></p><script>
const f = document.getElementById("f"), parts = %s;
f.onload = () => {
  const d = f.contentDocument, main = d.querySelector("main");
  [...main.children].forEach((e, i) => { if (parts.length && !parts.includes(i)) e.remove(); });
  document.getElementById("said").textContent = "height=" + Math.ceil(main.getBoundingClientRect().height) + " wide=" + (d.documentElement.scrollWidth > d.documentElement.clientWidth) + " ";
};
</script>`

var said = regexp.MustCompile(`height=(\d+) wide=(true|false)`)

// take measures the page first, and makes a picture that ends with it.
func (s shot) take(page, to, dir string) error {
	to, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	parts := "[" + strings.Trim(strings.Join(strings.Fields(fmt.Sprint(s.parts)), ","), "[]") + "]"
	file := filepath.Join(dir, "frame.html")
	write := func(height int) error {
		return os.WriteFile(file, fmt.Appendf(nil, frame, filepath.Base(page), s.width, height, parts), 0o600)
	}
	if err := write(1000); err != nil {
		return err
	}
	flags := []string{"--allow-file-access-from-files", "--hide-scrollbars"}
	if s.dark {
		flags = append(flags, "--blink-settings=preferredColorScheme=0")
	}
	out, err := chromium(dir, append(flags, fmt.Sprintf("--window-size=%d,1000", max(s.width, 500)), "--dump-dom", "file://"+file)...)
	if err != nil {
		return err
	}
	m := said.FindSubmatch(out)
	if m == nil {
		return fmt.Errorf("%s: the browser did not say how high the page is", page)
	}
	if string(m[2]) == "true" {
		return fmt.Errorf("%s is wider than %d", page, s.width)
	}
	height, err := strconv.Atoi(string(m[1]))
	if err != nil {
		return err
	}
	if err := write(height); err != nil {
		return err
	}
	if _, err := chromium(dir, append(flags, fmt.Sprintf("--window-size=%d,%d", s.width, height), "--screenshot="+to, "file://"+file)...); err != nil {
		return err
	}
	fmt.Println(to)
	return nil
}

func chromium(dir string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "chromium", append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--user-data-dir=" + filepath.Join(dir, "profile")}, args...)...)
	var why strings.Builder
	c.Stderr = &why
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("chromium: %w: %s", err, why.String())
	}
	return out, nil
}
