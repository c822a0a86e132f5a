package page_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"eblnode/internal/page"
	"eblnode/internal/report"
	"eblnode/internal/vectest"
	"eblnode/judge"
	"eblnode/testvectors"
)

// built makes the page once for all tests, as eblverify page does.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "page-test-")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "page.html")
	c := exec.Command("go", "run", "eblnode/cmd/eblverify", "page", "--out", file)
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return file, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if file, err := built2(); err == nil && file != "" {
		_ = os.RemoveAll(filepath.Dir(file))
	}
	os.Exit(code)
}

var (
	wanted bool
	lock   sync.Mutex
)

// built2 is built where a test wanted it.
func built2() (string, error) {
	lock.Lock()
	defer lock.Unlock()
	if !wanted {
		return "", nil
	}
	return built()
}

func thePage(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("it compiles the program to WebAssembly")
	}
	lock.Lock()
	wanted = true
	lock.Unlock()
	file, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

type verdictCase struct {
	Trust []string `json:"trust"`
	Name  string   `json:"name"`
	Body  string   `json:"body"`
	At    string   `json:"at"`
}

func cases(t *testing.T) (in []verdictCase, want []report.Input) {
	t.Helper()
	list, err := testvectors.LoadBundles()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range list {
		text, err := testvectors.Trust(v.Trust)
		if err != nil {
			t.Fatal(err)
		}
		body, err := v.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, v.At)
		if err != nil {
			t.Fatal(err)
		}
		trust := vectest.Trust(t, v.Trust)
		r := judge.File(body, judge.Options{Trust: trust, Now: at, Journey: true})
		r.File = v.Name
		in = append(in, verdictCase{[]string{string(text)}, v.Name, base64.StdEncoding.EncodeToString(body), v.At})
		want = append(want, report.Input{Report: r, Trust: trust, At: at, Maker: "eblverify dev, in a browser"})
	}
	return in, want
}

// TestProgramOfThePageUnderNode judges every evidence bundle of the test vectors by the
// bytes that the page carries, and compares the whole report with ours.
func TestProgramOfThePageUnderNode(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("there is no node")
	}
	file := thePage(t)
	in, want := cases(t)
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "node", "node_test.mjs", file)
	c.Stdin = bytes.NewReader(text)
	var out, errOut bytes.Buffer
	c.Stdout, c.Stderr = &out, &errOut
	if err := c.Run(); err != nil {
		t.Fatalf("%v: %s", err, errOut.String())
	}
	var got []struct {
		Error, Verdict string
		Report         json.RawMessage
		Content        int
		File           string
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || len(got) != len(want) {
		t.Fatalf("got %d results and %v, want %d", len(got), err, len(want))
	}
	for i, g := range got {
		ours, err := json.Marshal(want[i].Report)
		if err != nil {
			t.Fatal(err)
		}
		var a, b any
		if json.Unmarshal(ours, &a) != nil || json.Unmarshal(g.Report, &b) != nil {
			t.Fatalf("%s: got %s", in[i].Name, g.Report)
		}
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		if g.Error != "" || g.Verdict != string(want[i].Report.Verdict) || !bytes.Equal(x, y) || g.Content < 500 || len(g.File) < g.Content {
			t.Errorf("%s: got %s %s\n%s\nwant\n%s", in[i].Name, g.Error, g.Verdict, y, x)
		}
		saved, err := report.HTML(want[i])
		if err != nil {
			t.Fatal(err)
		}
		if g.File != string(saved) {
			t.Errorf("%s: the report to be saved is not that of the command line", in[i].Name)
		}
	}
}

// TestPageLoadsNothing: nothing in the page names another place, and its policy allows
// none.
func TestPageLoadsNothing(t *testing.T) {
	text, err := os.ReadFile(thePage(t))
	if err != nil {
		t.Fatal(err)
	}
	html := string(text)
	for _, bad := range []string{" src=", "<link", "@import", "url(", "http-equiv=\"refresh\"", "'unsafe-inline'", "'unsafe-eval'"} {
		if strings.Contains(html, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	policy := regexp.MustCompile(`Content-Security-Policy" content="([^"]+)"`).FindStringSubmatch(html)
	if policy == nil || !strings.HasPrefix(policy[1], "default-src &#39;none&#39;;") && !strings.HasPrefix(policy[1], "default-src 'none';") {
		t.Errorf("got the policy %q", policy)
	}
	if n := strings.Count(html, "<script"); n != 3 {
		t.Errorf("got %d script elements, want Go's, the program, and the page's own", n)
	}
	if len(text) > 8<<20 {
		t.Errorf("the page has %d bytes, more than 8 MiB", len(text))
	}
}

func TestMakeRefusesWhatWouldNotRun(t *testing.T) {
	if _, err := page.Make([]byte("MZ"), nil, "1"); err == nil {
		t.Error("a program that is not WebAssembly: got a page")
	}
	if _, err := page.Make([]byte("\x00asm"), []byte("</script>"), "1"); err == nil {
		t.Error("a start that ends its element: got a page")
	}
}
