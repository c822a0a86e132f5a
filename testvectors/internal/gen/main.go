// Command gen writes the test vectors. Every byte follows from this code: the keys
// are derived from their names and every signature is deterministic, so that running it
// again changes nothing. It shares no code with the packages that the vectors test.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
)

const root = "testdata" // go generate runs in the folder of testvectors.go

func main() {
	log.SetFlags(0)
	g := &generator{files: map[string][]byte{}, keys: map[string]*key{}, index: index{}}
	g.trustFiles()
	for _, family := range []func(*generator){
		jsonRuleVectors, canonicalVectors, numberVectors,
		algVectors, spellingVectors, headerVectors, signatureVectors, keyVectors, windowVectors,
		jsonVectors, bodyVectors, payloadVectors, timestampVectors, hostVectors, transfereeVectors,
		acceptVectors, hashVectors, platformVectors, lawVectors, returnVectors, timeVectors,
		receiptVectors, rejectionVectors, verdictVectors,
		exchangeVectors, pairVectors, authorityVectors, ocspVectors, archiveVectors, settingVectors, historyVectors,
	} {
		family(g)
		for _, put := range g.later {
			put()
		}
		g.later = nil
	}
	g.writeKeys()
	g.files["INDEX.md"] = g.index.text()
	if err := g.sync(); err != nil {
		log.Fatal(err)
	}
}

type generator struct {
	files map[string][]byte // by path below root
	keys  map[string]*key
	later []func() // puts what is complete only now
	index index
}

// put adds a vector; name is family/file.
func (g *generator) put(name string, v *vec) {
	if v.v.State == nil && v.v.Expect == "accept" && v.v.Kind == "block" {
		log.Fatalf("%s: an accepted block needs a state", name)
	}
	g.index.add(v.v.Spec, name, v.v.Expect)
	g.write(name+".json", v.v)
}

func (g *generator) write(path string, value any) {
	if _, ok := g.files[path]; ok {
		log.Fatalf("%s: written twice", path)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(value); err != nil {
		log.Fatalf("%s: %v", path, err)
	}
	g.files[path] = b.Bytes()
}

// sync makes the folder hold exactly the files made.
func (g *generator) sync() error {
	for _, family := range append([]string{"keys", "trust", "exchange", "ocsp", "archive"}, families...) {
		dir := filepath.Join(root, family)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		old, err := filepath.Glob(filepath.Join(dir, "*.json"))
		if err != nil {
			return err
		}
		for _, path := range old {
			if _, made := g.files[family+"/"+filepath.Base(path)]; !made {
				if err := os.Remove(path); err != nil {
					return err
				}
			}
		}
	}
	for path, text := range g.files {
		if err := os.WriteFile(filepath.Join(root, path), text, 0o644); err != nil {
			return err
		}
	}
	fmt.Println(len(g.files), "files")
	return nil
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
