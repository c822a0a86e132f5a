// Command genbundle writes our encoder's share of the evidence bundles of the test vectors,
// testdata/bundle/go-*.json. The other share is the Node tool's (reader-node/make.mjs), which
// knows nothing of this one. Every signature is deterministic: running it again changes nothing.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"eblnode/envelope"
)

const dir = "testdata/bundle" // go generate runs in the folder of testvectors.go

// A vector is one file; package testvectors says what its members mean.
type vector struct {
	Comment string         `json:"comment"`
	Kind    string         `json:"kind"`
	Maker   string         `json:"maker"`
	Expect  string         `json:"expect"`
	Reason  string         `json:"reason,omitempty"`
	Place   map[string]int `json:"place,omitempty"`
	At      string         `json:"at"`
	Trust   string         `json:"trust"`
	Input   string         `json:"inputText"`
	State   *state         `json:"state,omitempty"`
}

type state struct {
	Possessor    string `json:"possessor,omitempty"`
	Status       string `json:"status"`
	Issuing      string `json:"issuing"`
	ToOrder      bool   `json:"toOrder"`
	Head         string `json:"head,omitempty"`
	Length       int    `json:"length"`
	DocumentHash string `json:"documentHash"`
}

// A generator numbers the files of each rule.
type generator struct {
	numbers map[string]int
	files   map[string][]byte
}

// A made is a bundle with what it must come to. change is made in the text, after our
// encoder: what it would not write.
type made struct {
	b       *builder
	comment string
	place   map[string]int
	at      string
	trust   string
	change  [2]string
}

var unclear = regexp.MustCompile(`^(platformNotTrusted|unknownKey|keyCompromised|documentNeeded|contradicted|disputed|forked)`)

// bad puts a bundle whose first broken rule, or whose gap, is code.
func (g *generator) bad(code string, m made) {
	expect := "invalid"
	if unclear.MatchString(code) {
		expect = "indeterminate"
	}
	g.put(code, m, vector{Expect: expect, Reason: code})
}

// good puts a bundle that holds; possessor "" is of a void bill.
func (g *generator) good(expect, possessor, status string, m made) {
	s := &state{Possessor: possessor, Status: status, Issuing: "carrier.example", ToOrder: true, Length: len(m.b.bundle.Block.Entries), DocumentHash: m.b.bundle.DocumentHash.String()}
	if n := s.Length; n > 0 {
		s.Head = m.b.bundle.Block.Entries[n-1].Hash().String()
	}
	g.put(expect, m, vector{Expect: expect, State: s})
}

func (g *generator) put(code string, m made, v vector) {
	text := m.b.text()
	if m.change[0] != "" {
		if !strings.Contains(text, m.change[0]) {
			log.Fatalf("%s (%s): there is no %s to change", code, m.comment, m.change[0])
		}
		text = strings.Replace(text, m.change[0], m.change[1], 1)
	}
	g.numbers[code]++
	v.Comment, v.Kind, v.Maker, v.Place, v.Input = m.comment, "bundle", "go", m.place, text
	v.At, v.Trust = "2026-06-01T12:00:00Z", "base"
	if m.at != "" {
		v.At = m.at
	}
	if m.trust != "" {
		v.Trust = m.trust
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	must(0, e.Encode(v))
	g.files[fmt.Sprintf("go-%s-%d.json", kebab(code), g.numbers[code])] = b.Bytes()
}

var capital = regexp.MustCompile(`[A-Z]+`)

func kebab(code string) string {
	s := capital.ReplaceAllStringFunc(code, func(m string) string { return "-" + strings.ToLower(m) })
	return strings.Trim(strings.ReplaceAll(s, "/", "-"), "-")
}

func main() {
	log.SetFlags(0)
	g := &generator{numbers: map[string]int{}, files: map[string][]byte{}}
	for _, family := range []func(*generator){goodBundles, shapes, signatures, links, laws, steps, answers, verdicts, branches} {
		family(g)
	}
	must(0, os.MkdirAll(dir, 0o755))
	for _, f := range must(filepath.Glob(filepath.Join(dir, "go-*.json"))) {
		must(0, os.Remove(f))
	}
	for name, text := range g.files {
		must(0, os.WriteFile(filepath.Join(dir, name), text, 0o644))
	}
	fmt.Println(len(g.files), "bundles")
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

func hash(digit string) envelope.Hash {
	return must(envelope.ParseHash(strings.Repeat(digit, 64)))
}
