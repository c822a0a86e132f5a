//go:build linux

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/internal/catest"
	"eblnode/testvectors"
)

// What a file of the largest size may cost the program: docs/BUNDLE.md, section 1. More memory it
// does not get, and would crash. The time is that of the processor, so that a busy machine changes
// nothing.
const (
	hostileMemory = 1 << 20          // KiB
	hostileTime   = 45 * time.Second // 30 of --timeout, and what is done before the first signature
)

// filler repeats a piece, made with its number, up to a size.
func filler(size int, piece func(int) string) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		b.WriteString(piece(i))
	}
	return b.String()
}

// hostile are files of up to 32 MiB that are all work and no bill; whole is a good one.
func hostile(t *testing.T, whole map[string]json.RawMessage) map[string][]byte {
	t.Helper()
	const size = envelope.MaxBundleBytes - 1<<16
	with := func(name, raw string) []byte {
		var b bytes.Buffer
		b.WriteString("{")
		for n, v := range whole {
			if n != name {
				fmt.Fprintf(&b, "%q:%s,", n, v)
			}
		}
		fmt.Fprintf(&b, "%q:%s}", name, raw)
		return b.Bytes()
	}
	list := func(n int, piece func(int) string) string {
		items := make([]string, n)
		for i := range items {
			items[i] = piece(i)
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	var chain []json.RawMessage
	var entry struct{ Signature string }
	if json.Unmarshal(whole["chain"], &chain) != nil || json.Unmarshal(chain[len(chain)-1], &entry) != nil {
		t.Fatal("the vector has no chain")
	}
	parts := strings.Split(entry.Signature, ".")
	b64 := base64.RawURLEncoding.EncodeToString
	// Without kid each of the platform's keys is tried.
	noKid := b64([]byte(`{"alg":"ES256"}`)) + "." + parts[1] + "."
	unsigned := func(i int) string {
		return fmt.Sprintf("%q", noKid+b64(bytes.Repeat([]byte{byte(i), byte(i >> 8), 1, 2}, 16)))
	}
	named := func(i int) string { // no two of them are the same JWS
		return fmt.Sprintf("%q", b64([]byte(fmt.Sprintf(`{"alg":"ES256","iat":%d,"kid":"bank-1"}`, i)))+"."+parts[1]+"."+b64(bytes.Repeat([]byte{1, 2}, 32)))
	}
	wide := func(size int) string {
		return "{" + strings.TrimSuffix(filler(size, func(i int) string { return fmt.Sprintf("\"m%d\":0,", i) }), ",") + "}"
	}
	der := func(i int) string {
		return fmt.Sprintf("%q", base64.StdEncoding.EncodeToString(append([]byte{0x30, 0x82, 0x1f, 0x00, byte(i >> 8), byte(i)}, make([]byte, 5000)...)))
	}
	sumOf := func(i int) string {
		return fmt.Sprintf("%q", envelope.HashOf(append([]byte{0x30, 0x82, 0x1f, 0x00, byte(i >> 8), byte(i)}, make([]byte, 5000)...)))
	}
	check := func(i int) string {
		return fmt.Sprintf(`{"jws":"%s","at":"2026-06-01T09:00:00Z","platform":"carrier.example","key":"%s","certificates":[%s]}`, envelope.HashOf([]byte(entry.Signature)), envelope.Hash{1}, sumOf(i))
	}
	rejection := func(i int) string {
		p := fmt.Sprintf(`{"envelopeHash":"%s","errorDateTime":"2026-06-01T09:00:00Z","jwsSha256":"%s","reason":"x","receiver":"bank.example","responseCode":"BENV","sender":"carrier.example"}`, envelope.HashOf([]byte(fmt.Sprint(i))), envelope.Hash{2})
		return fmt.Sprintf("%q", b64([]byte(`{"alg":"ES256","typ":"eblnode-rejection+jws"}`))+"."+b64([]byte(p))+"."+b64(bytes.Repeat([]byte{1, 2}, 32)))
	}
	huge := base64.RawURLEncoding.EncodeToString([]byte(`{"documentHash":"` + envelope.Hash{3}.String() + `","transactions":[` + strings.TrimSuffix(strings.Repeat(`{"instruction":"TRNS","isToOrder":true,"platformHost":"https://carrier.example","timestamp":1780300800000,"transferee":"a@bank.example"},`, 1000), ",") + `]}`))
	manyTransactions := func(i int) string {
		return fmt.Sprintf(`{"envelopeHash":"%s","signature":"%s.%s.%s"}`, envelope.HashOf([]byte(fmt.Sprint(i))), b64([]byte(`{"alg":"ES256"}`)), huge, b64(bytes.Repeat([]byte{1, 2}, 32)))
	}
	return map[string][]byte{
		"brackets":                  []byte(strings.Repeat("[", size)),
		"objects in objects":        []byte(strings.Repeat(`{"a":`, size/5)),
		"a million members":         with("document", wide(7<<20)),
		"members that nobody knows": []byte(wide(size)),
		"the same member":           []byte("{" + strings.Repeat(`"a":0,`, size/6) + `"a":0}`),
		"one string":                with("document", `{"x":"`+strings.Repeat("x", 7<<20)+`"}`),
		"one name":                  with(strings.Repeat("x", size), "0"),
		"escapes":                   with("document", `{"x":"`+strings.Repeat(`\u0001`, (7<<20)/6)+`"}`),
		"digits":                    with("document", `{"x":`+strings.Repeat("9", 7<<20)+`}`),
		"numbers":                   with("document", `{"x":[`+strings.Repeat("0.1,", (7<<20)/4)+`0]}`),
		"an array of nothing":       with("steps", "["+strings.Repeat("0,", size/2)+"0]"),
		"empty entries":             with("chain", "["+strings.Repeat("{},", size/3)+"{}]"),
		"a JWS of 30 MiB":           with("receipts", `["`+strings.Repeat("A", size-1<<20)+`.A.A"]`),
		"a million receipts":        with("receipts", "["+strings.TrimSuffix(filler(size-1<<20, func(i int) string { return unsigned(i) + "," }), ",")+"]"),
		"a thousand receipts":       with("receipts", list(1000, unsigned)),
		"a thousand rejections":     with("rejections", list(1000, rejection)),
		"a thousand branches":       with("branches", list(63, func(i int) string { return `{"at":1,"entries":` + list(15, named) + `}` })),
		"a chain of a thousand": with("chain", list(1000, func(i int) string {
			return fmt.Sprintf(`{"envelopeHash":"%s","signature":%s}`, envelope.HashOf([]byte(fmt.Sprint(i))), named(i))
		})),
		"thousands of transactions":  with("chain", list((size-1<<20)/(len(huge)+200), manyTransactions)),
		"four thousand certificates": with("certificates", list(4000, der)),
		"four thousand checks":       with("checks", list(4000, check)),
		"certificates of one check":  bytes.Replace(with("certificates", list(4000, der)), []byte(`"checks":[]`), []byte(fmt.Sprintf(`"checks":[{"jws":"%s","at":"2026-06-01T09:00:00Z","platform":"carrier.example","key":"%s","certificates":%s}]`, envelope.HashOf([]byte(entry.Signature)), envelope.Hash{1}, list(4000, sumOf))), 1),
		"trust entries": with("trust", list(1000, func(i int) string {
			return fmt.Sprintf(`{"domain":"d%d.example","keys":{"keys":[%s]}}`, i, strings.Repeat(`{"kty":"EC"},`, 500)+`{"kty":"EC"}`)
		})),
		// 19,000 signatures of P-521 for whoever follows the paths, three times over.
		"trust entries with paths":     with("trust", "["+entryOfManyPaths(t, "carrier.example", 95, 200)+"]"),
		"a document that looks closed": []byte(`{"format":"eblnode-bundle/1","document":"` + strings.Repeat(`\"}`, size/3)),
	}
}

// entryOfManyPaths is a good trust entry with many keys, each with a certificate of the last of many
// authorities that have one name.
func entryOfManyPaths(t *testing.T, domain string, authorities, keys int) string {
	t.Helper()
	var anchors []string
	var last *catest.Authority
	for range authorities {
		key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		last = catest.NewOf(t, "R", key, func(c *x509.Certificate) { c.SubjectKeyId = []byte{1} })
		anchors = append(anchors, catest.PEM(last.Cert))
	}
	var list []map[string]any
	for i := range keys {
		key := catest.NewKey(t)
		raw, err := key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		b64 := base64.RawURLEncoding.EncodeToString
		leaf := last.Issue(t, key, catest.Names(domain), catest.Responder("http://ocsp.example"))
		list = append(list, map[string]any{"kty": "EC", "crv": "P-256", "kid": fmt.Sprint(i), "x": b64(raw[1:33]), "y": b64(raw[33:]), "x5c": [][]byte{leaf.Raw}})
	}
	text, err := json.Marshal(map[string]any{"domain": domain, "mode": "ca", "anchors": anchors, "keys": map[string]any{"keys": list}})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestHostileFilesCostLittle gives the program files that somebody made to keep it busy: it
// ends with a verdict, within bounds of memory and time, and does not crash.
func TestHostileFilesCostLittle(t *testing.T) {
	if testing.Short() {
		t.Skip("builds eblverify and judges files of 32 MiB")
	}
	list, err := testvectors.LoadBundles()
	if err != nil {
		t.Fatal(err)
	}
	var whole map[string]json.RawMessage
	if err := json.Unmarshal([]byte(*list[0].InputText), &whole); err != nil {
		t.Fatal(err)
	}
	for _, b := range list {
		if b.Name == "bundle/node-valid-1" {
			if err := json.Unmarshal([]byte(*b.InputText), &whole); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "eblverify")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("building eblverify: %v\n%s", err, out)
	}
	trust, rules := manyKeys(t, filepath.Join(dir, "platforms.json")), map[string]int{}
	for name, text := range hostile(t, whole) {
		if len(text) > envelope.MaxBundleBytes {
			t.Errorf("%s: %d bytes, more than a bundle may have", name, len(text))
		}
		file := filepath.Join(dir, "hostile.json")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", fmt.Sprintf(`ulimit -d %d && exec "$@"`, hostileMemory), "sh", bin, file, "--trust", trust, "--at", "2026-06-01T12:00:00Z", "--json")
		var out, errOut bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errOut
		err := cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != exitValid && code != exitInvalid && code != exitUnsure {
			t.Errorf("%s: got %v and %.300s%.300s, want a verdict", name, err, out.String(), errOut.String())
			continue
		}
		var said struct {
			Reports []struct{ Rule, Detail string }
		}
		if err := json.Unmarshal(out.Bytes(), &said); err != nil || len(said.Reports) != 1 || out.Len() > 1<<20 {
			t.Errorf("%s: %v in %d bytes of answer", name, err, out.Len())
			continue
		}
		took := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		t.Logf("%-30s %8d bytes: %-24s %8s", name, len(text), said.Reports[0].Rule, took.Round(time.Millisecond))
		if took > hostileTime {
			t.Errorf("%s: %s of the processor, more than %s", name, took, hostileTime)
		}
		rules[said.Reports[0].Rule]++
	}
	if len(rules) < 8 || rules["malformed/limit"] == 0 || rules["badReceipt/value"]+rules["badRejection/entry"] == 0 {
		t.Errorf("got %v: the files are too much alike", rules)
	}
}

// manyKeys is a trust file in which the bank has sixteen keys.
func manyKeys(t *testing.T, path string) string {
	t.Helper()
	type file struct {
		Platforms []map[string]any `json:"platforms"`
	}
	read := func(name string) (f file) {
		text, err := testvectors.Trust(name)
		if err == nil {
			err = json.Unmarshal(text, &f)
		}
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := read("base")
	keys := func(p map[string]any) []any { return p["keys"].(map[string]any)["keys"].([]any) }
	f.Platforms[1]["keys"] = map[string]any{"keys": append(keys(f.Platforms[1]), keys(read("seventeen-keys").Platforms[0])[:15]...)}
	f.Platforms[1]["quirks"] = map[string]any{"bareKey": true}
	text, err := json.Marshal(f)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}
