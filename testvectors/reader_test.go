package testvectors_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eblnode/internal/vectest"
	"eblnode/testvectors"
)

// nodeJS is the command that runs the second reader; the test is skipped, saying so, where
// there is none of version 20 or later.
func nodeJS(t *testing.T, script string, args ...string) *exec.Cmd {
	t.Helper()
	version, err := exec.CommandContext(t.Context(), "node", "--version").Output()
	if err != nil {
		t.Skip("skipped: the second reader needs Node, and there is none")
	}
	var major int
	if _, err := fmt.Sscanf(string(version), "v%d", &major); err != nil || major < 20 {
		t.Skipf("skipped: the second reader needs Node 20 or later, this is %s", version)
	}
	return exec.CommandContext(t.Context(), "node", append([]string{"reader-node/" + script}, args...)...)
}

// TestNodeReaderAgrees runs the second, independent reader over every vector.
func TestNodeReaderAgrees(t *testing.T) {
	out, err := nodeJS(t, "vectors.mjs").CombinedOutput()
	if err != nil {
		t.Fatalf("the Node reader disagrees: %v\n%s", err, out)
	}
	want := fmt.Sprintf("%d vectors read, 0 disagreements\n", len(all(t))+len(bundles(t))+len(exchanges(t))+len(answers(t))+len(archives(t)))
	if got := string(out); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestFormatDoesNotMakeABundle: a transferblock may have a member format, in the document too,
// and is judged as one by both programs (docs/BUNDLE.md, section 1).
func TestFormatDoesNotMakeABundle(t *testing.T) {
	v := all(t)[slices.IndexFunc(all(t), func(v *testvectors.Vector) bool { return v.Name == "chain/three-entries" })]
	block := bytes.Replace(compact(t, v), []byte("{"), []byte(`{"format":"eblnode-bundle/1",`), 1)
	if r := judged(t, block, v.Trust, v.At); r.Kind != "transferblock" || !r.Verdict.Holds() {
		t.Errorf("eblverify says %s %s of a %s", r.Verdict, r.Rule, r.Kind)
	}
	trust, err := testvectors.Trust(v.Trust)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, platforms := filepath.Join(dir, "block.json"), filepath.Join(dir, "platforms.trust")
	if err := errors.Join(os.WriteFile(file, block, 0o600), os.WriteFile(platforms, trust, 0o600)); err != nil {
		t.Fatal(err)
	}
	if out, err := nodeJS(t, "verdict.mjs", "--trust", platforms, "--at", v.At, file).CombinedOutput(); err != nil || !strings.Contains(string(out), `"verdict":"VALID"`) {
		t.Errorf("verdict.mjs: %v and %s", err, out)
	}
}

// TestNodeReaderNoticesAnError: the reader compares, and does not only read.
func TestNodeReaderNoticesAnError(t *testing.T) {
	if testing.Short() {
		t.Skip("copies the vectors")
	}
	nodeJS(t, "vectors.mjs") // skips without Node
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "cp", "-r", "reader-node", "testdata", dir).CombinedOutput(); err != nil {
		t.Fatalf("copying: %v\n%s", err, out)
	}
	for _, c := range []struct{ file, from, to string }{
		{"chain/issued.json", `"expect": "accept"`, `"expect": "chain"`},
		{"chain/refuse-time-ahead.json", `"timeAhead"`, `"timeReversed"`},
		{"chain/refuse-time-ahead.json", `"transaction": `, `"transaction": 9`},
		{"chain/issued.json", `"possessor": "`, `"possessor": "x`},
		{"canonical/nfc.json", `"canonical": "{`, `"canonical": "{ `},
		{"exchange/fork.json", `"forked"`, `"behind"`},
		{"bundle/go-valid-1.json", `"possessor": "ben`, `"possessor": "bea`},
		{"bundle/node-bad-link-previous-1.json", `"entry": 1`, `"entry": 0`},
	} {
		if out, err := exec.CommandContext(t.Context(), "sh", "-c",
			fmt.Sprintf(`cd %s/testdata && cp %s saved && sed 's/%s/%s/' saved > %s && ! cmp -s saved %s`, dir, c.file, c.from, c.to, c.file, c.file)).CombinedOutput(); err != nil {
			t.Fatalf("changing %s: %v\n%s", c.file, err, out)
		}
		cmd := exec.CommandContext(t.Context(), "node", dir+"/reader-node/vectors.mjs")
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), " 1 disagreements") {
			t.Errorf("%s with %s: got %v, %s, want one disagreement", c.file, c.to, err, out)
		}
		if out, err := exec.CommandContext(t.Context(), "mv", dir+"/testdata/saved", dir+"/testdata/"+c.file).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}

// TestNodeMakesTheSameBundles: the files here are what the Node tool makes.
func TestNodeMakesTheSameBundles(t *testing.T) {
	if testing.Short() {
		t.Skip("makes all bundles")
	}
	nodeJS(t, "make.mjs")
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "cp", "-r", "reader-node", "testdata", dir).CombinedOutput(); err != nil {
		t.Fatalf("copying: %v\n%s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), "node", dir+"/reader-node/make.mjs").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), "diff", "-r", "testdata/bundle", dir+"/testdata/bundle").CombinedOutput(); err != nil {
		t.Errorf("the Node tool makes other bundles; run go generate ./testvectors: %v\n%s", err, out)
	}
}

// A question is one input for both readers.
type question struct {
	Kind   string `json:"kind"`
	Trust  string `json:"trust"`
	At     string `json:"at"`
	Sender string `json:"sender,omitempty"`
	Input  []byte `json:"inputBase64"`

	vector *testvectors.Vector
}

// answer is what a reader made of it.
type answer struct {
	Expect string             `json:"expect"`
	Reason string             `json:"reason"`
	Law    string             `json:"law"`
	State  *testvectors.State `json:"state"`
	Detail string             `json:"detail"`
}

func (a answer) String() string {
	s := a.Reason
	if a.Law != "" {
		s += "/" + a.Law
	}
	return s
}

// askNode gives the Node reader's answers, in order.
func askNode(t *testing.T, qs []question) []answer {
	t.Helper()
	cmd := nodeJS(t, "batch.mjs")
	var in bytes.Buffer
	enc := json.NewEncoder(&in)
	for _, q := range qs {
		if err := enc.Encode(q); err != nil {
			t.Fatal(err)
		}
	}
	cmd.Stdin = &in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the Node reader: %v\n%s", err, stderr.String())
	}
	answers := make([]answer, 0, len(qs))
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatalf("%v in %s", err, lines.Text())
		}
		answers = append(answers, a)
	}
	if len(answers) != len(qs) {
		t.Fatalf("answers: got %d, want %d", len(answers), len(qs))
	}
	return answers
}

// TestBothReadersAgree asks both readers about thousands of blocks that nobody wrote by
// hand: vectors changed at random, and bills changed at random and then signed again, so
// that every rule behind the signature is reached. Same level, reason, law and state.
func TestBothReadersAgree(t *testing.T) {
	nodeJS(t, "batch.mjs") // skips without Node
	r := rand.New(rand.NewPCG(7, 7))
	var qs []question
	ask := func(v *testvectors.Vector, text []byte) {
		trust, err := testvectors.Trust(v.Trust)
		if err != nil {
			t.Fatal(err)
		}
		qs = append(qs, question{Kind: "block", Trust: string(trust), At: v.At, Sender: v.Sender, Input: text, vector: v})
	}
	blocks := slices.DeleteFunc(all(t), func(v *testvectors.Vector) bool { return v.Kind != "block" })
	for range mutations() / 2 {
		v := blocks[r.IntN(len(blocks))]
		in, err := v.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if len(in) > 0 {
			ask(v, mutate(r, in))
		}
	}
	vs := golden(t)
	f := newForger(t)
	for range mutations() / 2 {
		v := vs[r.IntN(len(vs))]
		ask(v, f.forge(t, r, compact(t, v)))
	}

	seen := map[string]int{}
	for i, got := range askNode(t, qs) {
		q := qs[i]
		_, c, reason := verdict(q.Input, vectest.Options(t, q.vector))
		seen[reason]++
		if got.String() != reason {
			t.Errorf("%s, changed: Go says %q, Node says %q (%s): %s", q.vector.Name, reason, got, got.Detail, q.Input)
			continue
		}
		if c == nil {
			continue
		}
		want := testvectors.State{
			Possessor: c.State.Possessor.String(), Status: string(c.State.Status), Issuing: c.State.Issuing.String(), ToOrder: c.State.ToOrder,
			Head: c.State.Head.String(), Length: c.State.Length, DocumentHash: c.State.Document.String(),
		}
		if got.State == nil || *got.State != want {
			t.Errorf("%s, changed: state: Node says %+v, Go says %+v", q.vector.Name, got.State, want)
		}
	}
	t.Logf("%d blocks, both readers agree: %v", len(qs), seen)
	if len(seen) < 15 {
		t.Errorf("only %d different answers: %v", len(seen), seen)
	}
}

// A forger has the platforms' private test keys, and so can sign nonsense.
type forger struct{ keys map[string]*ecdsa.PrivateKey }

func newForger(t *testing.T) *forger {
	t.Helper()
	f := &forger{keys: map[string]*ecdsa.PrivateKey{}}
	for _, name := range []string{"carrier-1", "bank-1"} {
		text, err := testvectors.Files.ReadFile("testdata/keys/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var jwk struct{ D string }
		if err := json.Unmarshal(text, &jwk); err != nil {
			t.Fatal(err)
		}
		d, err := base64.RawURLEncoding.DecodeString(jwk.D)
		if err != nil {
			t.Fatal(err)
		}
		if f.keys[name], err = ecdsa.ParseRawPrivateKey(elliptic.P256(), d); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// forge changes the payloads of a block by one or two members or transactions, links
// and signs them again.
func (f *forger) forge(t *testing.T, r *rand.Rand, in []byte) []byte {
	t.Helper()
	var b struct {
		Document json.RawMessage     `json:"document"`
		Chain    []map[string]string `json:"endorsementChain"`
		Old      []map[string]string `json:"endorcementChain,omitempty"`
	}
	if err := json.Unmarshal(in, &b); err != nil {
		return in // beside a signature stands an object
	}
	if b.Chain == nil {
		b.Chain, b.Old = b.Old, nil
	}
	payloads := make([]map[string]any, len(b.Chain))
	for i, e := range b.Chain {
		text, err := base64.RawURLEncoding.DecodeString(strings.Split(e["signature"], ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&payloads[i]); err != nil {
			t.Fatal(err)
		}
	}
	for range 1 + r.IntN(2) {
		payloads = change(r, payloads)
	}
	b.Chain = nil
	previous := any(nil)
	for i, p := range payloads {
		if i > 0 || r.IntN(50) == 0 {
			p["previousEnvelopeHash"] = previous
		}
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		hash := hex.EncodeToString(sum[:])
		if r.IntN(100) == 0 {
			hash = strings.Repeat("0", 64)
		}
		previous = hash
		b.Chain = append(b.Chain, map[string]string{"envelopeHash": hash, "signature": f.sign(t, r, p, text)})
	}
	out, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sign signs as the platform of the first transaction, most of the time.
func (f *forger) sign(t *testing.T, r *rand.Rand, p map[string]any, payload []byte) string {
	t.Helper()
	kid := "carrier-1"
	if txs := p["transactions"].([]any); len(txs) > 0 && strings.Contains(fmt.Sprint(txs[0].(map[string]any)["platformHost"]), "bank") {
		kid = "bank-1"
	}
	header := fmt.Sprintf(`{"alg":"ES256","kid":%q}`, kid)
	if r.IntN(30) == 0 {
		header = `{"alg":"ES256"}`
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	digest := sha256.Sum256([]byte(text))
	x, y, err := ecdsa.Sign(nil, f.keys[kid], digest[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := append(x.FillBytes(make([]byte, 32)), y.FillBytes(make([]byte, 32))...)
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// change makes one change to the payloads.
func change(r *rand.Rand, ps []map[string]any) []map[string]any {
	i := r.IntN(len(ps))
	txs := ps[i]["transactions"].([]any)
	if len(txs) == 0 {
		return ps
	}
	j := r.IntN(len(txs))
	old := txs[j].(map[string]any)
	tx := map[string]any{}
	for k, v := range old {
		tx[k] = v
	}
	txs = slices.Clone(txs)
	pick := func(list ...any) any { return list[r.IntN(len(list))] }
	switch r.IntN(9) {
	case 0:
		tx["instruction"] = pick("ISSU", "TRNS", "SURR", "AMND", "SW2P", "trns", nil)
		delete(tx, "action")
	case 1:
		tx["transferee"] = pick("ben@bank.example", "shipper@carrier.example", "carrier@carrier.example", "tess@trade.example", "BEN@bank.example",
			"ben@api.bank.example", "ben@bank.example:443", "ben@BANK.example.", "", "ben", "b..n@bank.example", "ben@127.0.0.1", 5, nil,
			map[string]any{"eBLPlatformIdentifier": "ben@bank.example", "identifyingCodes": []any{map[string]any{"partyCode": "X"}}},
			map[string]any{"eBLPlatformIdentifier": "ben@bank.example", "identifyingCodes": pick([]any{nil}, []any{1}, "x", nil), "address": pick(1, nil)})
	case 2:
		n, _ := new(big.Int).SetString(fmt.Sprint(tx["timestamp"]), 10)
		if n == nil {
			n = new(big.Int)
		}
		delta := pick(int64(1), int64(-1), int64(300_000), int64(-300_001), int64(600_000), int64(-3_600_000), int64(400_000_000), int64(-1<<41))
		tx["timestamp"] = json.Number(n.Add(n, big.NewInt(delta.(int64))).String())
	case 3:
		tx["isToOrder"] = pick(true, false, true, false, nil, "true")
	case 4:
		tx["platformHost"] = pick("https://carrier.example", "bank.example", "HTTPS://BANK.example:443/x", "https://api.bank.example", "https://ebl.carrier.example:8443",
			"https://ebl.carrier.example", "https://nobody.example", "https://bank.example?x", "http://bank.example", "bank.example:0443", "https://bücher.example", "xn--a", "1.2", "a--b.example", "ab--c.example", "bank。example", "bank.example。", "https://", "https://bank.example:65536", "ﬀ.example", "a\u200db.example", "ß.example", "א1.example")
	case 5:
		txs = slices.Delete(txs, j, j+1)
		if len(txs) > 0 {
			j = min(j, len(txs)-1)
			tx = txs[j].(map[string]any)
		}
	case 6:
		txs = slices.Insert(txs, j, txs[r.IntN(len(txs))])
	case 7:
		ps[i]["documentHash"] = pick(strings.Repeat("a", 64), ps[i]["documentHash"], strings.Repeat("A", 64), 1)
	case 8: // an entry less, doubled or elsewhere
		k := r.IntN(len(ps))
		switch {
		case len(ps) > 1 && r.IntN(2) == 0:
			return slices.Delete(slices.Clone(ps), i, i+1)
		default:
			return slices.Insert(slices.Clone(ps), k, cloneMap(ps[i]))
		}
	}
	if len(txs) > 0 {
		txs[j] = tx
	}
	next := cloneMap(ps[i])
	next["transactions"] = txs
	ps = slices.Clone(ps)
	ps[i] = next
	return ps
}

func cloneMap(m map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}
