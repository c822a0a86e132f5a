package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/testvectors"
)

var update = flag.Bool("update", false, "write testdata/*.golden anew")

// do runs the program in this process.
func do(t *testing.T, in string, args ...string) (out, errOut string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(args, strings.NewReader(in), &o, &e)
	return o.String(), e.String(), code
}

// vector is the input of a test vector.
func vector(t *testing.T, family, name string) (v *testvectors.Vector, block string) {
	t.Helper()
	list, err := testvectors.Load(family)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(v *testvectors.Vector) bool { return v.Name == family+"/"+name })
	if i < 0 {
		t.Fatalf("there is no vector %s/%s", family, name)
	}
	body, err := list[i].Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return list[i], string(body)
}

// write writes a file of the test and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// trustFile writes a trust file of the vectors.
func trustFile(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := testvectors.Trust(name)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, dir, "trust-"+name+".json", string(text))
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	v, block := vector(t, "chain", "three-entries")
	trust := trustFile(t, dir, v.Trust)
	good := write(t, dir, "good.json", block)
	bad := write(t, dir, "bad.json", strings.Replace(block, "TD-2026-1", "TD-2026-2", 1))
	text := write(t, dir, "text.json", "hello")
	some := trustFile(t, dir, "carrier-only")
	missing := filepath.Join(dir, "missing.json")
	empty := t.TempDir()
	beside := trustFile(t, t.TempDir(), v.Trust)
	write(t, filepath.Dir(beside), "good.json", block)
	// What a folder of others may hold beside files.
	if err := errors.Join(os.Symlink(good, filepath.Join(dir, "link.json")), os.Mkdir(filepath.Join(dir, ".hidden"), 0o700),
		os.WriteFile(filepath.Join(dir, ".hidden", "x.json"), nil, 0o600), os.WriteFile(filepath.Join(dir, "README.txt"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		want int
		says string
	}{
		{"valid", []string{good, "--trust", trust}, 0, "good.json: VALID"},
		{"twice valid", []string{good, good, "--trust", trust}, 0, "good.json: VALID"},
		{"changed document", []string{bad, "--trust", trust}, 1, "documentMismatch"},
		{"not JSON", []string{text, "--trust", trust}, 1, "malformed"},
		{"no trust entry for the signer", []string{good, "--trust", some}, 3, "good.json: INDETERMINATE\n  platformNotTrusted: "},
		{"no file", []string{missing, "--trust", trust}, 3, "missing.json: INDETERMINATE\n  unreadable: "},
		{"an empty folder", []string{empty, "--trust", trust}, 3, "unreadable"},
		{"a folder", []string{dir, "--trust", trust}, 1, "good.json: VALID  ben@bank.example\n"},
		{"a folder, in sum", []string{dir, "--trust", trust}, 1, "4 files: 1 VALID, 3 INVALID\n"},
		{"a folder with its trust file in it", []string{filepath.Dir(beside), "--trust", beside}, 0, "good.json: VALID  ben@bank.example\n"},
		{"invalid is worse than unreadable", []string{missing, bad, good, "--trust", trust}, 1, "good.json: VALID"},
		{"unreadable is worse than valid", []string{good, missing, "--trust", trust}, 3, "good.json: VALID"},
		{"no files", []string{"--trust", trust}, 2, "name a file"},
		{"no trust", []string{good}, 2, "--trust FILE is needed"},
		{"trust that is not there", []string{good, "--trust", missing}, 2, "missing.json"},
		{"trust that is no trust", []string{good, "--trust", text}, 2, "text.json"},
		{"trust that is a block", []string{good, "--trust", good}, 2, "good.json"},
		{"one platform twice", []string{good, "--trust", trust, "--trust", trust}, 2, "trust files"},
		{"no time", []string{good, "--trust", trust, "--at", "yesterday"}, 2, `--at: "yesterday"`},
		{"unknown flag", []string{good, "--trust", trust, "--bogus"}, 2, "bogus"},
		{"standard input twice", []string{"-", "-", "--trust", trust}, 2, "read once"},
		{"negative limit", []string{good, "--trust", trust, "--max-bytes", "-1"}, 2, "--max-bytes: -1 is no limit"},
		{"limit of nothing", []string{good, "--trust", trust, "--max-bytes", "0"}, 2, "--max-bytes: 0 is no limit"},
		{"the largest int64 of bytes", []string{good, "--trust", trust, "--max-bytes", "9223372036854775807"}, 2, "--max-bytes: 9223372036854775807 is too much: at most 1073741824"},
		{"more than int64", []string{good, "--trust", trust, "--max-bytes", "9223372036854775808"}, 2, "max-bytes"},
		{"no number", []string{good, "--trust", trust, "--max-bytes", "8MiB"}, 2, "max-bytes"},
		{"most bytes", []string{good, "--trust", trust, "--max-bytes", "1073741824"}, 0, "VALID"},
		{"no entries", []string{good, "--trust", trust, "--max-entries", "0"}, 2, "--max-entries: 0 is no limit"},
		{"no transactions", []string{good, "--trust", trust, "--max-transactions", "0"}, 2, "--max-transactions: 0 is no limit"},
		{"too many transactions allowed", []string{good, "--trust", trust, "--max-transactions", "9223372036854775807"}, 2, "--max-transactions"},
		{"no depth", []string{good, "--trust", trust, "--max-depth", "0"}, 2, "--max-depth: 0 is no limit"},
		{"deeper than can be walked", []string{good, "--trust", trust, "--max-depth", "10001"}, 2, "--max-depth: 10001 is too much"},
		{"negative time", []string{good, "--trust", trust, "--timeout", "-1s"}, 2, "--timeout: -1s is less than nothing"},
		{"no unit of time", []string{good, "--trust", trust, "--timeout", "30"}, 2, "timeout"},
		{"without limit of time", []string{good, "--trust", trust, "--timeout", "0"}, 0, "VALID"},
		{"a root that is none", []string{good, "--trust", trust, "--root", "newest"}, 2, `--root: "newest" is not the hash of a root`},
		{"too many bytes", []string{good, "--trust", trust, "--max-bytes", "100"}, 1, "malformed"},
		{"too many entries", []string{good, "--trust", trust, "--max-entries", "2"}, 1, "malformed"},
		{"entries enough", []string{good, "--trust", trust, "--max-entries", "3"}, 0, "VALID"},
		{"too deep", []string{good, "--trust", trust, "--max-depth", "2"}, 1, "malformed"},
		{"before it was signed", []string{good, "--trust", trust, "--at", "2026-01-01T00:00:00Z"}, 1, "unlawful/timeAhead"},
		{"version", []string{"--version"}, 0, "eblverify version dev\n"},
		{"help", []string{"--help"}, 0, "Usage:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := c.args
			if !slices.Contains(args, "--at") {
				args = append(args, "--at", v.At)
			}
			out, errOut, code := do(t, "", args...)
			if code != c.want || !strings.Contains(out+errOut, c.says) {
				t.Errorf("got exit code %d, want %d, and %q in\n%s%s", code, c.want, c.says, out, errOut)
			}
			if c.want == 2 && (out != "" || !strings.HasPrefix(errOut, "eblverify: ") || strings.Count(errOut, "\n") != 1) {
				t.Errorf("usage: got %q, %q, want one line on standard error", out, errOut)
			}
			if c.name == "help" || c.name == "version" {
				return
			}
			asJSON, errOut, code := do(t, "", append(args, "--json")...)
			var parsed struct{ ExitCode int }
			if err := json.Unmarshal([]byte(asJSON), &parsed); err != nil || code != c.want || parsed.ExitCode != c.want || errOut != "" {
				t.Errorf("--json: got exit code %d, %v, %q, %q, want %d and one JSON object that says so", code, err, asJSON, errOut, c.want)
			}
		})
	}
}

// TestTransactionsLimit: a block with many transactions in one entry.
func TestTransactionsLimit(t *testing.T) {
	v, block := vector(t, "chain", "many-transactions")
	trust := trustFile(t, t.TempDir(), v.Trust)
	if out, _, code := do(t, block, "-", "--trust", trust, "--at", v.At); code != 0 {
		t.Errorf("got exit code %d, want 0: %s", code, out)
	}
	if out, _, code := do(t, block, "-", "--trust", trust, "--at", v.At, "--max-transactions", "2"); code != 1 || !strings.Contains(out, "malformed") {
		t.Errorf("with --max-transactions 2: got exit code %d, want 1: %s", code, out)
	}
}

// TestAt: a key that was revoked after it signed still counts; the clock is the flag's.
func TestAt(t *testing.T) {
	v, block := vector(t, "chain", "time-five-minutes-ahead")
	trust := trustFile(t, t.TempDir(), v.Trust)
	at, err := time.Parse(time.RFC3339, v.At)
	if err != nil {
		t.Fatal(err)
	}
	for ahead, want := range map[time.Duration]int{0: 0, time.Hour: 0, -time.Second: 1} {
		if out, _, code := do(t, block, "-", "--trust", trust, "--at", at.Add(ahead).Format(time.RFC3339)); code != want {
			t.Errorf("--at %s later: got exit code %d, want %d: %s", ahead, code, want, out)
		}
	}
	// Without it, it is now: these vectors are of the past, so nothing is ahead.
	if out, _, code := do(t, block, "-", "--trust", trust); code != 0 {
		t.Errorf("without --at: got exit code %d, want 0: %s", code, out)
	}
}

// TestJSONIsStable: programs read it, so every byte is compared.
func TestJSONIsStable(t *testing.T) {
	for _, name := range []string{"three-entries", "return-surr", "refuse-link-skips"} {
		v, block := vector(t, "chain", name)
		out, _, _ := do(t, block, "-", "--json", "--trust", trustFile(t, t.TempDir(), v.Trust), "--at", v.At)
		people, _, _ := do(t, block, "-", "--trust", trustFile(t, t.TempDir(), v.Trust), "--at", v.At)
		for ending, got := range map[string]string{".json.golden": out, ".txt.golden": people} {
			path := filepath.Join("testdata", name+ending)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
			}
		}
	}
}

// TestBlockCannotDrawOnTheTerminal: what somebody wrote into a bill, or into the name of
// a file, is shown with its control characters escaped; in JSON it is whole.
func TestBlockCannotDrawOnTheTerminal(t *testing.T) {
	dir := t.TempDir()
	p := ebltest.New(t).Platform("carrier.example")
	const evil = "\x1b[2J\u009b1A\u202eVALID\u200b\r\n  in control   thief@carrier.example\x7f"
	document, err := json.Marshal(map[string]any{"transportDocumentReference": evil, "carrierCode": "MA\x1b", "isToOrder": true})
	if err != nil {
		t.Fatal(err)
	}
	canonical, err := envelope.Canonicalize(document)
	if err != nil {
		t.Fatal(err)
	}
	block := ebltest.Body(canonical, p.Seal(envelope.HashOf(canonical), envelope.Hash{},
		ebltest.Tx{Instruction: envelope.Issue, To: "shipper@carrier.example", Comments: evil}))
	entry, err := p.Entry.JSON()
	if err != nil {
		t.Fatal(err)
	}
	trust := write(t, dir, "trust.json", string(entry))
	file := write(t, dir, "a\x1b[2J\nb.json", string(block))
	broken := write(t, dir, "broken.json", `{"document":{},"endorsementChain":[],"endorsementChain`+evil+`":1}`)
	out, errOut, code := do(t, "", file, broken, filepath.Join(dir, "no\x1bne"), "--trust", trust)
	if code != 1 || errOut != "" || !strings.Contains(out, ": VALID\n") {
		t.Fatalf("got exit code %d, %q, want 1, from the broken file: %s", code, errOut, out)
	}
	for _, r := range out {
		if r != '\n' && (r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x202e || r == 0x200b) {
			t.Errorf("the output has the character U+%04X: %q", r, out)
		}
	}
	if n := strings.Count(out, "\n  in control "); n != 1 {
		t.Errorf("the output has %d lines of who is in control, want 1: %s", n, out)
	}
	if !strings.Contains(out, `\u001b[2J\u009b1A\u202eVALID\u200b\u000d\u000a  in control`) {
		t.Errorf("the text is not shown escaped: %s", out)
	}
	asJSON, _, _ := do(t, "", file, "--json", "--trust", trust)
	var parsed struct {
		Reports []struct {
			Reference string `json:"transportDocumentReference"`
			Entries   []struct{ Transactions []struct{ Comments string } }
		}
	}
	if err := json.Unmarshal([]byte(asJSON), &parsed); err != nil {
		t.Fatal(err)
	}
	if r := parsed.Reports[0]; r.Reference != evil || r.Entries[0].Transactions[0].Comments != evil {
		t.Errorf("--json: got %+v, want the text as it is", r)
	}
	// And in an error of usage.
	if _, errOut, code := do(t, "", file, "--trust", "no\x1b[2J\nfile"); code != 2 || strings.ContainsAny(errOut, "\x1b") || strings.Count(errOut, "\n") != 1 {
		t.Errorf("trust file with a bad name: got exit code %d, %q", code, errOut)
	}
}

// TestReadsNoMoreThanTheLimit: an endless file does not fill the memory.
func TestReadsNoMoreThanTheLimit(t *testing.T) {
	v, _ := vector(t, "chain", "three-entries")
	endless := &counted{}
	var out, errOut bytes.Buffer
	code := run([]string{"-", "--trust", trustFile(t, t.TempDir(), v.Trust), "--max-bytes", "100000"}, endless, &out, &errOut)
	if code != 1 || endless.n > 1<<20 {
		t.Errorf("got exit code %d after %d bytes, want 1 after little more than 100,000: %s", code, endless.n, out.String())
	}
}

// counted is white space without end.
type counted struct{ n int }

func (c *counted) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	c.n += len(b)
	return len(b), nil
}
