package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A startPath finds the texts of errors in all functions that run before a node serves: from
// the function serve on, by the names of what each calls. It does not know types, so it finds
// rather too much; what is not of the start is named in notFatal.
type startPath struct {
	t     *testing.T
	funcs map[string][]*ast.FuncDecl // "node.open": functions and methods
	vars  map[string]string          // "node.ErrInUse": texts of errors
	seen  map[*ast.FuncDecl]bool
	texts map[string]string // text → the function that says it
}

// startPackages are those whose errors end a start, by the name that others call them.
var startPackages = map[string]string{"main": "cmd/eblnode", "node": "node", "keyfile": "internal/keyfile", "rights": "internal/rights",
	"witness": "internal/witness", "discovery": "discovery", "hsm": "internal/hsm"}

// notFatal are functions on the way whose errors do not end a start, and why.
var notFatal = map[string]string{
	"main.run":           "it serves",
	"main.reload":        "the keys of before are used on",
	"node.sealDay":       "logged, and tried again",
	"node.reenterOne":    "its bill stays in quarantine",
	"node.freeze":        "logged: it starts, and nothing moves",
	"node.saveBill":      "no start moves a bill but what is entered again",
	"node.accepted":      "the same",
	"node.writeEvents":   "the same",
	"node.scanBill":      "the same",
	"node.scanUser":      "the same",
	"node.enter":         "the same",
	"main.Set":           "a flag",
	"discovery.Endpoint": "asked when something is sent",
	"discovery.Staple":   "the certificate is shown without an answer",
}

func (s *startPath) load() {
	for name, dir := range startPackages {
		files, err := filepath.Glob(filepath.Join("../..", dir, "*.go"))
		if err != nil || len(files) == 0 {
			s.t.Fatalf("%s: %v, %v", dir, files, err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				s.t.Fatal(err)
			}
			for _, d := range f.Decls {
				switch d := d.(type) {
				case *ast.FuncDecl:
					s.funcs[name+"."+d.Name.Name] = append(s.funcs[name+"."+d.Name.Name], d)
				case *ast.GenDecl:
					for _, spec := range d.Specs {
						if v, isVar := spec.(*ast.ValueSpec); isVar {
							for i, value := range v.Values {
								if text, isError := errorText(value); isError && i < len(v.Names) {
									s.vars[name+"."+v.Names[i].Name] = text
								}
							}
						}
					}
				}
			}
		}
	}
}

// errorText is the text with which an expression makes an error.
func errorText(e ast.Expr) (string, bool) {
	call, isCall := e.(*ast.CallExpr)
	if !isCall || len(call.Args) == 0 {
		return "", false
	}
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		if x, isName := f.X.(*ast.Ident); !isName || x.Name+"."+f.Sel.Name != "fmt.Errorf" && x.Name+"."+f.Sel.Name != "errors.New" {
			return "", false
		}
	case *ast.Ident:
		if !slices.Contains([]string{"usage", "unsure", "refused"}, f.Name) {
			return "", false
		}
	default:
		return "", false
	}
	return firstText(call.Args[0]), true
}

func (s *startPath) walk(pkg string, f *ast.FuncDecl) {
	if s.seen[f] || f.Body == nil {
		return
	}
	s.seen[f] = true
	where := pkg + "." + f.Name.Name
	follow := func(pkg, name string, method bool) {
		if _, stop := notFatal[pkg+"."+name]; stop {
			return
		}
		for _, d := range s.funcs[pkg+"."+name] {
			if (d.Recv != nil) == method {
				s.walk(pkg, d)
			}
		}
	}
	ast.Inspect(f.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if text, isError := errorText(n); isError && text != "" {
				s.texts[text] = where
			}
			switch f := n.Fun.(type) {
			case *ast.Ident:
				follow(pkg, f.Name, false)
			case *ast.SelectorExpr:
				if x, isName := f.X.(*ast.Ident); isName && startPackages[x.Name] != "" && x.Obj == nil {
					follow(x.Name, f.Sel.Name, false)
				} else {
					follow(pkg, f.Sel.Name, true)
				}
			}
		case *ast.SelectorExpr:
			if x, isName := n.X.(*ast.Ident); isName {
				if text := s.vars[x.Name+"."+n.Sel.Name]; text != "" {
					s.texts[text] = where
				}
			}
		case *ast.Ident:
			if text := s.vars[pkg+"."+n.Name]; text != "" {
				s.texts[text] = where
			}
		}
		return true
	})
}

// walkStart reads the sources.
func walkStart(t *testing.T) *startPath {
	t.Helper()
	s := &startPath{t: t, funcs: map[string][]*ast.FuncDecl{}, vars: map[string]string{}, seen: map[*ast.FuncDecl]bool{}, texts: map[string]string{}}
	s.load()
	for _, d := range s.funcs["main.serve"] {
		if d.Recv != nil {
			s.walk("main", d)
		}
	}
	return s
}

// says reports whether a line of the table is the text of an error, or a part of it.
func says(line string, pattern *regexp.Regexp, text string) bool {
	sample := verb.ReplaceAllString(text, "…")
	return pattern.MatchString(sample) || strings.Contains(sample, strings.Trim(line, "…"))
}

// verb is a part of an error's text that is filled in.
var verb = regexp.MustCompile(`%[-+#0-9.]*[a-zA-Z]`)

// passedOn are texts that stand behind the colon of another line, or with which no start
// ends, and why.
var passedOn = map[string]string{
	"reading %s: %s":                         "the line names a file, by whose kind the table goes: reading ….yaml, ….crt, ….key",
	"reading %s: %w":                         "the same",
	"reading %s:\n%s":                        "the same",
	"%w: %s (%s); restore a backup":          "the database is damaged: fatalities shows it",
	"%w: %s (%w); restore a backup":          "the same",
	"%w: %s is not the file that was opened": "the database was taken away: the same",
	"endpoint: longer than %d bytes":         "the cause behind: endpoint …",
	"it does not name %s":                    "of eblnode key import",
	"it expired at %s":                       "the same",
	"the key %s has a certificate, by which older signatures are checked; make a new key": "the same",
	"not committed":                "of tests",
	"a panic in a transaction: %v": "a mistake in this program",
	"a reader keeps the log from being written into the database": "the cause behind: after a failure … cannot be relied upon",
	"%s is %s (mode %o); run: chmod %s %s":                        "is open to others: fatalities shows it",
	"the data folder %w":                                          "the same",
	"a hash column holds %T of %d bytes":                          "the cause behind: reading … of …",
	"a hash is 64 lower-case hex digits":                          "the cause behind: the witness … is damaged",
	"a line is too long":                                          "the same",
	"more than one value in the line":                             "the same",
	"no generation or no kind":                                    "the same",
	"not a line of a journal":                                     "the same",
	"the line is not what its hash says":                          "the same",
	"its file was deleted":                                        "the cause behind: the witness could not be written",
	"its file has %d bytes and not the %d that were written: somebody else writes to it": "the same",
	"looking at it: %w":                                                    "the same",
	"encoding record %d: the data has a line end":                          "a mistake in this program",
	"encoding record %d: %w":                                               "the same",
	"recording %s: %w":                                                     "the same",
	"recording %s: %d bytes are too many for the witness":                  "no record of a start is as long",
	"moving bill %s without a record for the witness":                      "a mistake in this program",
	"opening a node: Self, Signer and Dir are required":                    "the same",
	"a signing key is nil":                                                 "the same",
	"asking OCSP responders: a Resolver is required":                       "the same",
	"the bill has moved on":                                                "the same",
	"the node is closing":                                                  "it stops",
	"opening a node: %w":                                                   "what follows is a line of its own",
	"bill %d has no entry %d":                                              "the cause behind: completing record … for the witness",
	"reading a record for the witness: %w":                                 "the same",
	"record %d: %w":                                                        "the same",
	"those that the database has for it are not of this node":              "the cause behind: lacks records",
	"an allowed network is not valid":                                      "the cause behind: configuring discovery",
	"the allowed network %v is wider than IPv4":                            "the same",
	"a query or fragment is not allowed":                                   "the cause behind: endpoint …",
	"https:// is missing":                                                  "the same",
	"the path has an empty or dot segment":                                 "the same",
	"the path has the byte %q":                                             "the same",
	"the scheme is not https":                                              "the same",
	"user info is not allowed":                                             "the same",
	"the key name %q: only letters, digits, dots, hyphens and underscores": "a name of another program's file: passed over",
	"the key name %q: 1 to 64 letters, digits, dots, hyphens and underscores, with a letter or digit first": "the same",
}

// TestEveryErrorOfTheStartIsInTheManual: whatever ends "eblnode serve" before it serves, its
// reader finds it in the table, with the cure.
func TestEveryErrorOfTheStartIsInTheManual(t *testing.T) {
	s := walkStart(t)
	if len(s.texts) < 60 {
		t.Errorf("got %d texts, want at least 60: are the sources read as they are written?", len(s.texts))
	}
	lines := manualLines(t)
	for text, where := range s.texts {
		sample := verb.ReplaceAllString(text, "…")
		found := passedOn[text] != "" || strings.Trim(sample, "…: ,;()") == ""
		for line, pattern := range lines {
			found = found || says(line, pattern, text)
		}
		if !found {
			t.Errorf("docs/OPERATIONS.md does not have the line %s of %s: add it, with its cure, under \"What it says when it does not start, or stops\"", strconv.Quote(sample), where)
		}
	}
	for text := range passedOn {
		if s.texts[text] == "" {
			t.Errorf("no start says %q any more: take it out of the list here", text)
		}
	}
}
