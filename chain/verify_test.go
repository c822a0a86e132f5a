package chain_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/vectest"
	"eblnode/testvectors"
)

func vector(t testing.TB, name string) *testvectors.Vector {
	t.Helper()
	for _, v := range vectors(t) {
		if v.Name == name {
			return v
		}
	}
	t.Fatalf("no vector %s", name)
	return nil
}

// TestMangledBlock: no changed, cut or lengthened block is accepted, except where all
// that was signed and shown is the same.
func TestMangledBlock(t *testing.T) {
	v := vector(t, "chain/three-entries")
	o := vectest.Options(t, v)
	in, err := v.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer // without the white space of the file, every byte counts
	if err := json.Compact(&compact, in); err != nil {
		t.Fatal(err)
	}
	body := compact.Bytes()
	good, err := envelope.Parse(body, envelope.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want, err := chain.Verify(good, o)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	check := func(what string, i int, text []byte) {
		b, err := envelope.Parse(text, envelope.Limits{})
		if err != nil {
			refused++
			return
		}
		c, err := chain.Verify(b, o)
		if err != nil {
			refused++
			return
		}
		shown, err := envelope.Canonicalize(b.Document)
		// One changed byte makes the old spelling of the chain's name, which is as good.
		alike := what == "space before it" || bytes.Contains(text, []byte(`"endorcementChain"`))
		if !alike || c.State != want.State || err != nil || !bytes.Equal(shown, good.Document) {
			t.Errorf("byte %d %s: accepted as %+v", i, what, c.State)
		}
	}
	for i := range body {
		for _, x := range []byte{1, 2, 4, 16, 32, 128} {
			text := bytes.Clone(body)
			text[i] ^= x
			check("changed", i, text)
		}
		check("left out", i, append(bytes.Clone(body[:i]), body[i+1:]...))
		check("cut", i, body[:i])
		before := refused
		check("space before it", i, append(append(bytes.Clone(body[:i]), ' '), body[i:]...))
		inString := bytes.Count(body[:i], []byte{'"'})%2 == 1
		if inString && refused == before && !bytes.HasPrefix(body[i:], []byte{'"'}) {
			t.Errorf("byte %d: a space inside a string is accepted", i)
		}
	}
	if refused < 8*len(body) {
		t.Errorf("refused: got %d, want at least %d", refused, 8*len(body))
	}
}

// TestRandomMutations changes the chain as a whole: entries dropped, doubled, swapped,
// hashes, signatures and payloads exchanged between two good bills.
func TestRandomMutations(t *testing.T) {
	type entry struct {
		Hash      string `json:"envelopeHash"`
		Signature string `json:"signature"`
	}
	type block struct {
		Document json.RawMessage `json:"document"`
		Chain    []entry         `json:"endorsementChain"`
	}
	read := func(name string) (b block) {
		in, err := vector(t, name).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(in, &b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	a, other := read("chain/three-entries"), read("chain/return-surr-declined")
	o := vectest.Options(t, vector(t, "chain/three-entries"))
	r := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for range 10_000 {
		m := block{a.Document, append([]entry{}, a.Chain...)}
		for range 1 + r.IntN(2) {
			i, j := r.IntN(len(m.Chain)), r.IntN(len(m.Chain))
			o := other.Chain[r.IntN(len(other.Chain))]
			switch r.IntN(7) {
			case 0:
				m.Chain[i], m.Chain[j] = m.Chain[j], m.Chain[i]
			case 1:
				m.Chain = append(m.Chain, m.Chain[j])
			case 2:
				m.Chain[i].Hash = o.Hash
			case 3:
				m.Chain[i] = o
			case 4:
				p, q := strings.Split(m.Chain[i].Signature, "."), strings.Split(o.Signature, ".")
				p[r.IntN(3)] = q[r.IntN(3)]
				m.Chain[i].Signature = strings.Join(p, ".")
			case 5:
				s := []byte(m.Chain[i].Signature)
				k := r.IntN(len(s))
				s[k] = "ABCabc012-_."[r.IntN(12)]
				m.Chain[i].Signature = string(s)
			case 6:
				m.Chain = append(m.Chain[:i:i], m.Chain[i+1:]...)
				if len(m.Chain) == 0 {
					m.Chain = append(m.Chain, o)
				}
			}
		}
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		b, err := envelope.Parse(text, envelope.Limits{})
		if err != nil {
			continue
		}
		c, err := chain.Verify(b, o)
		if err != nil {
			continue
		}
		accepted++
		// What is accepted is one of the two bills, whole or its beginning: every
		// prefix of a chain is a chain.
		for i := range m.Chain {
			if m.Chain[i] != a.Chain[i] && (i >= len(other.Chain) || m.Chain[i] != other.Chain[i]) {
				t.Fatalf("accepted with another entry %d: %s", i, text)
			}
		}
		if c.State.Length != len(m.Chain) {
			t.Fatalf("length: got %d, want %d", c.State.Length, len(m.Chain))
		}
	}
	if accepted > 5000 {
		t.Errorf("%d of 10,000 accepted: the test changes too little", accepted)
	}
}

// TestVerifiedSkipsOnlyTheSignature: what the store vouches for is not computed again,
// but its key is looked at each time.
func TestVerifiedSkipsOnlyTheSignature(t *testing.T) {
	v := vector(t, "chain/older-revoked-later")
	b, err := blockOf(t, v)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := chain.Verify(b, vectest.Options(t, v))
	if err != nil {
		t.Fatal(err)
	}
	stored := whole.Entries[0].Key.Thumbprint()
	theft := time.Date(2026, 6, 1, 9, 0, 0, 0, time.UTC) // in the trust file of that name
	before := theft.Add(-time.Second)
	for _, c := range []struct {
		name, trust string
		thumbprint  [32]byte
		since       time.Time
		want        chain.Reason
	}{
		{"in good standing", "algs", stored, before, ""},
		{"revoked after it signed", "revoked", stored, before, ""},
		{"stolen since, but we held the entry before", "compromised", stored, before, ""},
		{"stored after it was stolen, though not yet reported", "compromised", stored, theft, chain.KeyCompromised},
		{"stored, nobody knows when", "compromised", stored, time.Time{}, chain.KeyCompromised},
		{"not verified here, but proved to be older", "compromised", [32]byte{}, before, ""},
		{"taken out of the trust entry", "own-alg", [32]byte{1}, before, chain.UnknownKey},
		{"window shortened since", "rollover", stored, before, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := vectest.Options(t, v)
			o.Trust = vectest.Trust(t, c.trust)
			asked := 0
			o.Known = func(entry int, jws string) envelope.Known {
				asked++
				if entry == 0 && jws == b.Entries[0].JWS.Raw {
					return envelope.Known{Key: c.thumbprint, Since: c.since}
				}
				return envelope.Known{}
			}
			_, err := chain.Verify(b, o)
			cerr, _ := errors.AsType[*chain.Error](err)
			if (cerr == nil) != (c.want == "") || cerr != nil && cerr.Reason != c.want {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if asked != 2 {
				t.Errorf("asked for %d entries, want 2", asked)
			}
		})
	}
	// Without the store's word the stolen key stops the chain.
	o := vectest.Options(t, v)
	o.Trust = vectest.Trust(t, "compromised")
	if _, err := chain.Verify(b, o); err == nil {
		t.Error("a stolen key without proof: got no error")
	}
}

// TestErrorSaysWhere: text and path name the place.
func TestErrorSaysWhere(t *testing.T) {
	for name, want := range map[string]string{
		"chain/refuse-envelope-hash-middle":        "$.endorsementChain[1].envelopeHash",
		"chain/refuse-entry-removed":               "$.endorsementChain[1].signature.payload.previousEnvelopeHash",
		"chain/refuse-document-changed":            "$.endorsementChain[0].signature.payload.documentHash",
		"chain/refuse-middle-transferee-elsewhere": "$.endorsementChain[0].signature.payload.transactions[2]",
		"chain/refuse-signature-middle":            "$.endorsementChain[1].signature",
	} {
		v := vector(t, name)
		b, err := blockOf(t, v)
		if err != nil {
			t.Fatal(err)
		}
		_, err = chain.Verify(b, vectest.Options(t, v))
		cerr, ok := errors.AsType[*chain.Error](err)
		if !ok || cerr.Path() != want {
			t.Errorf("%s: got %v, want the path %s", name, err, want)
			continue
		}
		if !strings.HasPrefix(err.Error(), v.Reason) || !strings.Contains(err.Error(), "entry ") {
			t.Errorf("%s: got %q, want reason and entry in it", name, err)
		}
	}
}

// TestDCSA2022 verifies the block that DCSA published in 2022. It is not part of this
// repository; the test looks for it in a folder beside the repository.
func TestDCSA2022(t *testing.T) {
	found, err := filepath.Glob("../../*/data/dcsa/2022-send-transferblock.json")
	if err != nil || len(found) == 0 {
		t.Skip("DCSA's published block of 2022 is not beside the repository")
	}
	body, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := os.ReadFile(filepath.Join(filepath.Dir(found[0]), "2022-key.jwk.json"))
	if err != nil {
		t.Fatal(err)
	}
	const hash = "69436fcf37f8ebca6d92f6a66390acdab059ae174adacf3fb2cb3d40c3a51d40"
	trust := func(quirks string) *identity.Trust {
		ps, err := identity.ParseTrust([]byte(`{"domain":"localhost:8443","issuer":true,"keys":{"keys":[` + string(jwk) + `]},"quirks":` + quirks + `}`))
		if err != nil {
			t.Fatal(err)
		}
		tr, err := identity.NewTrust(ps...)
		if err != nil {
			t.Fatal(err)
		}
		return tr
	}
	verify := func(body []byte, quirks string) (*chain.Chain, chain.Reason) {
		b, err := envelope.Parse(body, envelope.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := chain.Verify(b, chain.Options{Trust: trust(quirks), Now: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)})
		if err != nil {
			cerr, _ := errors.AsType[*chain.Error](err)
			return nil, cerr.Reason
		}
		return c, ""
	}
	const quirks = `{"bareKey":true,"documentHash":"as-sent"}`
	if _, reason := verify(body, quirks); reason != chain.BadHash {
		t.Errorf("as published, with its stale envelopeHash: got %q, want %s", reason, chain.BadHash)
	}
	b, err := envelope.Parse(body, envelope.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	mended := bytes.Replace(body, []byte(b.Entries[0].Claimed.String()), []byte(hash), 1)
	if _, reason := verify(mended, `{"bareKey":true}`); reason != chain.DocumentMismatch {
		t.Errorf("without the quirk: got %q, want %s", reason, chain.DocumentMismatch)
	}
	c, reason := verify(mended, quirks)
	if reason != "" {
		t.Fatalf("with its hash: got %s, want it accepted", reason)
	}
	for what, pair := range map[string][2]string{
		"head":      {c.State.Head.String(), hash},
		"document":  {c.State.Document.String(), "fd868c82e99777b472a1677390d954dbb0131cb3b0f55c8ef51969856410d38e"},
		"possessor": {c.State.Possessor.String(), "43549850248@localhost:8443"},
		"issuing":   {c.State.Issuing.String(), "localhost:8443"},
		"status":    {string(c.State.Status), "active"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got %s, want %s", what, pair[0], pair[1])
		}
	}
	if c.State.Length != 1 || len(c.Entries[0].Transactions) != 1 {
		t.Errorf("got %d entries, %d transactions, want one of each", c.State.Length, len(c.Entries[0].Transactions))
	}
}
