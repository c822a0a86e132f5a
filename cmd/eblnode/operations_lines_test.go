package main

import (
	"bytes"
	"database/sql"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"eblnode/node"
)

func readManual(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(manualPage)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sources calls visit for each Go file of what a node runs, tests left out.
func sources(t *testing.T, visit func(path string, f *ast.File)) {
	t.Helper()
	for _, dir := range []string{"api", "cmd/eblnode", "discovery", "envelope", "identity", "chain", "node", "internal"} {
		err := filepath.WalkDir(filepath.Join("../..", dir), func(path string, d fs.DirEntry, err error) error {
			name := d.Name()
			if d.IsDir() && slices.Contains([]string{"torture", "bench", "demo", "ebltest", "dnsserver"}, name) {
				return filepath.SkipDir
			}
			if err != nil || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err == nil {
				visit(path, f)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// firstText is the text with which an expression begins: "a" of "a" + b.
func firstText(e ast.Expr) string {
	for {
		sum, isSum := e.(*ast.BinaryExpr)
		if !isSum {
			break
		}
		e = sum.X
	}
	if lit, isLit := e.(*ast.BasicLit); isLit && lit.Kind == token.STRING {
		s, _ := strconv.Unquote(lit.Value)
		return s
	}
	return ""
}

// TestEveryMetricIsInTheManual, and no metric there that the node does not have.
func TestEveryMetricIsInTheManual(t *testing.T) {
	page := readManual(t)
	is := map[string]bool{}
	name := regexp.MustCompile(`^eblnode_[a-z_]+$`)
	sources(t, func(_ string, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			if e, ok := n.(*ast.BasicLit); ok {
				if s := firstText(e); name.MatchString(s) {
					is[s] = true
				}
			}
			return true
		})
	})
	if len(is) < 20 {
		t.Errorf("got %d metrics in the sources, want at least 20", len(is))
	}
	told := map[string]bool{}
	for _, m := range regexp.MustCompile("`(eblnode_[a-z_]+)[`{]").FindAllStringSubmatch(page, -1) {
		told[m[1]] = true
		if !is[m[1]] {
			t.Errorf("docs/OPERATIONS.md: there is no metric %s", m[1])
		}
	}
	for m := range is {
		if !told[m] {
			t.Errorf("docs/OPERATIONS.md does not tell of the metric %s: add a row", m)
		}
	}
}

// TestEveryErrorInTheLogIsInTheManual: each line that the node logs at level ERROR wants
// somebody, who must find it there.
func TestEveryErrorInTheLogIsInTheManual(t *testing.T) {
	page := readManual(t)
	seen := 0
	sources(t, func(path string, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || method.Sel.Name != "Error" && method.Sel.Name != "ErrorContext" || len(call.Args) == 0 {
				return true
			}
			text := firstText(call.Args[0])
			if method.Sel.Name == "ErrorContext" {
				text = firstText(call.Args[1])
			}
			if text == "" {
				t.Errorf("%s: a line at level ERROR does not begin with a text, so nobody can look it up", path)
				return true
			}
			seen++
			text, _, _ = strings.Cut(text, ";") // what comes after it is the cure
			if !strings.Contains(page, "`"+strings.TrimSuffix(text, ": ")) {
				t.Errorf("docs/OPERATIONS.md does not have the line %q of %s: add it, with its cure, under \"Errors in its log\"", text, path)
			}
			return true
		})
	})
	if seen < 15 {
		t.Errorf("got %d lines, want at least 15: are the sources read as they are written?", seen)
	}
}

// manualLines are the texts in the first column of the table of lines with which the
// node does not start or ends. An ellipsis stands for anything.
func manualLines(t *testing.T) map[string]*regexp.Regexp {
	t.Helper()
	_, text, _ := strings.Cut(readManual(t), "\n## What it says when it does not start, or stops\n")
	text, _, _ = strings.Cut(text, "\n## ")
	lines := map[string]*regexp.Regexp{}
	for _, row := range strings.Split(text, "\n") {
		cells := strings.Split(row, " | ")
		if len(cells) < 2 || !strings.HasPrefix(row, "| `") {
			continue
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[0], -1) {
			lines[m[1]] = regexp.MustCompile(strings.ReplaceAll(regexp.QuoteMeta(m[1]), "…", ".*"))
		}
	}
	return lines
}

// A fatality is a way to keep a node from starting. harm does it to a data folder; what
// it returns is run at the end.
type fatality struct {
	harm func(t *testing.T, dir string)
	env  []string
	want string // a line of the table
	runs bool   // it starts, and says so
}

func remove(names ...string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		for _, n := range names {
			found, err := filepath.Glob(filepath.Join(dir, n))
			if err != nil || len(found) == 0 {
				t.Fatalf("%s: %v, %v", n, found, err)
			}
			for _, f := range found {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func mode(m os.FileMode, name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.Chmod(filepath.Join(dir, name), m); err != nil {
			t.Fatal(err)
		}
	}
}

// modeOf is mode for the files of a pattern.
func modeOf(m os.FileMode, pattern string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		for _, name := range globbed(t, dir, pattern) {
			if err := os.Chmod(name, m); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// copyOf copies the one file of a pattern.
func copyOf(pattern, to string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		for _, name := range globbed(t, dir, pattern) {
			if name == filepath.Join(dir, to) {
				continue
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			write(to, string(b))(t, dir)
			return
		}
	}
}

// spoil writes another text into the one file of a pattern.
func spoil(pattern, text string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.WriteFile(globbed(t, dir, pattern)[0], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func globbed(t *testing.T, dir, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %v, %v", pattern, names, err)
	}
	return names
}

// witnessElsewhere moves the witness to a folder to which others can write.
func witnessElsewhere(t *testing.T, dir string) {
	t.Helper()
	folder := filepath.Join(dir, "elsewhere")
	err := os.Mkdir(folder, 0o700)
	if err == nil {
		err = os.Rename(filepath.Join(dir, node.WitnessFile), filepath.Join(folder, node.WitnessFile))
	}
	if err == nil {
		err = os.Chmod(folder, 0o770)
	}
	text, readErr := os.ReadFile(filepath.Join(dir, configFile))
	if err := errors.Join(err, readErr); err != nil {
		t.Fatal(err)
	}
	write(configFile, strings.Replace(string(text), `witness: {path: ""}`, `witness: {path: "elsewhere/witness.log"}`, 1))(t, dir)
}

func write(name, text string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func execSQL(query string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		db, err := sql.Open("sqlite", filepath.Join(dir, node.DatabaseFile))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func both(all ...func(*testing.T, string)) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		for _, f := range all {
			f(t, dir)
		}
	}
}

// scramble writes noise over the pages of the database.
func scramble(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, node.DatabaseFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 200; i < len(b); i += 3 {
		b[i] ^= 0x5a
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// otherWitness puts the witness of another node in the place of ours.
func otherWitness(t *testing.T, dir string) {
	t.Helper()
	other := madeNode(t)
	b, err := os.ReadFile(filepath.Join(other, node.WitnessFile))
	if err != nil {
		t.Fatal(err)
	}
	write(node.WitnessFile, string(b))(t, dir)
}

// madeNode is a data folder of a node that has run.
func madeNode(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "n")
	for _, args := range [][]string{
		{"init", "--domain", "a.example", "--host", "h.a.example", "--listen-peer", "127.0.0.1:0", "--listen-local", "127.0.0.1:0"},
		{"user", "add", "alice", "--token-file", dir + ".token"},
	} {
		cmd := exec.Command(program("eblnode"), append(args, "--data", dir)...)
		cmd.Env = cleanEnv()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	return dir
}

// replaceKey puts a new key in the place of the signing key, under its name.
func replaceKey(t *testing.T, dir string) {
	t.Helper()
	other := madeNode(t)
	for _, kind := range []string{"key", "crt"} {
		to, _ := filepath.Glob(filepath.Join(dir, "keys", "signing-*."+kind))
		from, _ := filepath.Glob(filepath.Join(other, "keys", "signing-*."+kind))
		if len(to) != 1 || len(from) != 1 {
			t.Fatalf("%v, %v", to, from)
		}
		if err := os.Rename(from[0], to[0]); err != nil {
			t.Fatal(err)
		}
	}
}

// encryptKeys encrypts the private keys.
func encryptKeys(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command(program("eblnode"), "key", "encrypt", "--data", dir)
	cmd.Env = append(cleanEnv(), "EBLNODE_KEY_PASSPHRASE=correct horse")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("encrypting: %v\n%s", err, out)
	}
}

var fatalities = map[string]fatality{
	"folder":                               {harm: mode(0o750, "."), want: "the data folder … is open to others"},
	"file":                                 {harm: mode(0o640, "node.db"), want: "… is open to others"},
	"witness":                              {harm: mode(0o604, "witness.log"), want: "… is open to others"},
	"configuration":                        {harm: mode(0o644, "eblnode.yaml"), want: "… is open to others"},
	"keys":                                 {harm: mode(0o750, "keys"), want: "… is open to others"},
	"lock":                                 {harm: mode(0o660, "lock"), want: "… is open to others"},
	"private key":                          {harm: modeOf(0o640, "keys/signing-*.key"), want: "… is open to others"},
	"our authority":                        {harm: both(write("keys/ca-peers.key", "x"), mode(0o644, "keys/ca-peers.key")), want: "… is open to others"},
	"a key that waits for its certificate": {harm: both(write("keys/tls-at-bank.key", "x"), mode(0o604, "keys/tls-at-bank.key")), want: "… is open to others"},
	"certificate":                          {harm: modeOf(0o664, "keys/signing-*.crt"), want: "… is open to others who can write to it"},
	"note of a key":                        {harm: both(write("keys/signing-x.json", "{}"), write("keys/signing-x.crt", ""), mode(0o644, "keys/signing-x.json"), copyOf("keys/signing-*.crt", "keys/signing-x.crt")), want: "… is open to others"},
	"its folder":                           {harm: witnessElsewhere, want: "… is open to others who can write to it"},
	"other domain":                         {harm: remove("keys/*"), env: []string{"EBLNODE_DOMAIN=b.example"}, want: "keys.signing: there is no …"},
	"no TLS key":                           {harm: remove("keys/tls-*"), want: "keys.tls: there is no …"},
	"another name":                         {env: []string{"EBLNODE_DOMAIN=b.example"}, want: "this database belongs to …"},
	"newer":                                {harm: execSQL("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)"), want: "was made by a newer eblnode"},
	"noise":                                {harm: scramble, want: "the database is damaged"},
	"other key":                            {harm: replaceKey, want: "the key … was another one before"},
	"encrypted":                            {harm: encryptKeys, want: "is encrypted, and there is no passphrase"},
	"passphrase":                           {harm: encryptKeys, env: []string{"EBLNODE_KEY_PASSPHRASE=another"}, want: "the passphrase does not open it"},
	"host":                                 {env: []string{"EBLNODE_HOSTS=g.a.example"}, want: "hosts: the host … was published as ours"},
	"gone":                                 {harm: remove("node.db"), want: "is gone or empty, and the witness … says that there was one"},
	"empty":                                {harm: both(remove("witness.log"), write("node.db", "")), want: "database … is empty"},
	"typo":                                 {env: []string{"EBLNODE_LISTEN_LOKAL=x"}, want: "the environment variable … names nothing"},
	"value":                                {env: []string{"EBLNODE_PARTYMATCH=perhaps"}, want: "reading ….yaml"},
	"no certificate":                       {harm: spoil("keys/tls-*.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), want: "reading ….crt"},
	"no private key":                       {harm: spoil("keys/tls-*.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), want: "reading ….key"},
	"no note":                              {harm: both(copyOf("keys/tls-*.crt", "keys/tls-x.crt"), write("keys/tls-x.json", "{")), want: "reading ….json"},
	"unknown key":                          {harm: write("eblnode.yaml", "domian: a.example\n"), want: "unknown field …"},
	"no folder":                            {harm: func(t *testing.T, dir string) { _ = os.RemoveAll(dir) }, want: "there is no …; make a node with"},
	"address":                              {env: []string{"EBLNODE_LISTEN_LOCAL=203.0.113.1:1"}, want: "listening for …"},
	"tokens":                               {env: []string{"EBLNODE_AUTH=mtls+oauth2"}, want: "auth: mtls+oauth2 needs oauth.tokenEndpoint"},
	"metrics":                              {harm: both(write("m.token", "0123456789abcdef\n"), mode(0o640, "m.token")), env: []string{"EBLNODE_METRICS_TOKENFILE=m.token"}, want: "metrics.tokenFile: …"},
	"short token":                          {harm: write("m.token", "0123456789abcde\n"), env: []string{"EBLNODE_METRICS_TOKENFILE=m.token"}, want: "metrics.tokenFile: …"},
	"no witness":                           {harm: remove("witness.log"), want: "everything is frozen: the witness … is missing", runs: true},
	"not a witness":                        {harm: write("witness.log", "hello\n"), want: "is none", runs: true},
	"witness of b":                         {harm: otherWitness, want: "belongs to another node", runs: true},
}

// shown are lines of the table that other tests show, by the source that has the text: a
// disk that fails, a file that is taken away while the node runs, a damaged journal.
var shown = map[string]string{
	"the data folder is in use by another eblnode": "node/lock.go",
	"was published as": "node/own.go",
	"is gone or empty": "node/store.go",
	"the database was taken away while the node runs":        "node/store_fault.go",
	"the witness could not be written":                       "internal/witness/journal.go",
	"is damaged":                                             "node/witness.go",
	"ends at record …":                                       "node/witness.go",
	"lacks records, and …":                                   "node/witness.go",
	"tells another history":                                  "node/witness.go",
	"after a failure (…) the database cannot be relied upon": "node/store_fault.go",
}

// TestEveryFatalLineIsInTheManual breaks a node in each way, starts it, and looks up what
// it says; and no line is in the table that nothing shows.
func TestEveryFatalLineIsInTheManual(t *testing.T) {
	lines := manualLines(t)
	used := map[string]bool{}
	for line, file := range shown {
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(line, "…") {
			if !strings.Contains(string(text), part) {
				t.Errorf("%s does not say %q", file, part)
			}
		}
		used[line] = true
	}
	for name, f := range fatalities {
		used[f.want] = true
		t.Run(name, func(t *testing.T) {
			pattern := lines[f.want]
			if pattern == nil {
				t.Fatalf("docs/OPERATIONS.md has no line %q", f.want)
			}
			dir := madeNode(t)
			if f.harm != nil {
				f.harm(t, dir)
			}
			if out := lastWords(t, dir, f); !pattern.MatchString(out) {
				t.Errorf("got %s\nwant the line %q", out, f.want)
			}
		})
	}
	start := walkStart(t)
	for line, pattern := range lines {
		for text := range start.texts { // the program says it, on its way to the first answer
			used[line] = used[line] || says(line, pattern, text)
		}
		if !used[line] {
			t.Errorf("docs/OPERATIONS.md, line %q: no test shows it, and no start says it; add it to fatalities", line)
		}
	}
	for line := range shown {
		if lines[line] == nil {
			t.Errorf("docs/OPERATIONS.md has no line %q", line)
		}
	}
}

// lastWords starts the node and returns what it prints. It must end by itself, unless it
// is one that starts and says what is wrong.
func lastWords(t *testing.T, dir string, f fatality) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program("eblnode"), "serve", "--data", dir)
	cmd.Env = append(cleanEnv(), f.env...)
	cmd.WaitDelay = time.Second
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if f.runs {
		go func() { // when it serves, it has said what is wrong
			for range 6000 {
				if run, err := readRunFile(dir); err == nil && run.PID == cmd.Process.Pid {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			_ = cmd.Process.Signal(os.Interrupt)
		}()
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if ended := errors.As(err, &exit); ended == f.runs {
		t.Errorf("serve: %v, and it must %s", err, map[bool]string{true: "start", false: "not start"}[f.runs])
	}
	return text.String()
}
