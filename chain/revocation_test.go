package chain_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/catest"
)

// TestRevocationInAChain: what is asked, in which order, and what each answer makes of the
// chain; for the newest entry and for an older one.
func TestRevocationInAChain(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	root := catest.New(t, "Root")
	signers, trust := map[string]*identity.Signer{}, []*identity.Platform{}
	for _, domain := range []string{"carrier.example", "bank.example"} {
		key := catest.NewKey(t)
		leaf := root.Issue(t, key, catest.Names(domain), catest.Responder("http://ocsp.example/"+domain))
		text, err := json.Marshal(map[string]any{"domain": domain, "mode": "ca", "issuer": true, "anchors": []string{catest.PEM(root.Cert)}})
		if err != nil {
			t.Fatal(err)
		}
		ps, err := identity.ParseTrust(text)
		if err != nil {
			t.Fatal(err)
		}
		trust = append(trust, ps...)
		k, err := identity.NewKey(ps[0].Domain, "k", leaf)
		if err != nil {
			t.Fatal(err)
		}
		if signers[domain], err = identity.NewSigner(k, identity.ES256, key); err != nil {
			t.Fatal(err)
		}
	}
	set, err := identity.NewTrust(trust...)
	if err != nil {
		t.Fatal(err)
	}
	seal := func(by string, previous envelope.Hash, in envelope.Instruction, to string, at time.Time) envelope.Entry {
		host, _ := identity.ParseHost(by)
		tx, err := envelope.NewTransaction(envelope.Transaction{Instruction: in, At: at, ToOrder: true, PlatformHost: host}, []byte(`"`+to+`"`))
		if err != nil {
			t.Fatal(err)
		}
		e, err := envelope.Seal(envelope.HashOf([]byte(`{}`)), previous, [][]byte{tx}, signers[by])
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	hour := func(n int) time.Time { return now.Add(time.Duration(n) * time.Hour) }
	first := seal("carrier.example", envelope.Hash{}, envelope.Issue, "bob@bank.example", hour(-3))
	second := seal("bank.example", first.Hash(), envelope.Transfer, "zed@ship.example", hour(-1))
	block, err := envelope.Parse((&envelope.Transferblock{Document: []byte(`{}`), Entries: []envelope.Entry{first, second}}).Marshal(false), envelope.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	answer := func(domain string, s catest.Single) []byte {
		s.Cert, s.Issuer = signers[domain].Key.Certificates[0], root.Cert
		return catest.Answer{Singles: []catest.Single{s}, By: root}.DER(t)
	}
	revoked := func(reason, at int) catest.Single {
		return catest.Single{Status: catest.Revoked, Reason: reason, RevokedAt: hour(at)}
	}
	down := errors.New("connection refused")
	kept := &identity.Evidence{CheckedAt: now, Answers: [][]byte{answer("carrier.example", catest.Single{})}}
	for _, c := range []struct {
		name          string
		carrier, bank catest.Single // what the responders say
		fail          string        // a platform whose responder is down
		known         envelope.Known
		want          chain.Reason
		entry         int
		asked         []string
	}{
		{name: "both good", asked: []string{"bank.example", "carrier.example"}},
		{name: "the newest is asked about first, and nothing after it", fail: "bank.example", want: chain.RevocationUnknown, entry: 1, asked: []string{"bank.example"}},
		{name: "an older one is not known", fail: "carrier.example", want: chain.RevocationUnknown, asked: []string{"bank.example", "carrier.example"}},
		{name: "newest revoked before it signed", bank: revoked(4, -2), want: chain.BadSignature, entry: 1, asked: []string{"bank.example"}},
		{name: "newest revoked after it signed", bank: revoked(4, 0), asked: []string{"bank.example", "carrier.example"}},
		{name: "older revoked before it signed", carrier: revoked(4, -4), want: chain.BadChainSignature, asked: []string{"bank.example", "carrier.example"}},
		{name: "older revoked after it signed", carrier: revoked(4, -2), asked: []string{"bank.example", "carrier.example"}},
		{name: "older stolen after it signed", carrier: revoked(1, -2), want: chain.KeyCompromised, asked: []string{"bank.example", "carrier.example"}},
		{name: "older stolen after we held it", carrier: revoked(1, -2), known: envelope.Known{Since: hour(-3)}, asked: []string{"bank.example", "carrier.example"}},
		{name: "evidence that was kept is not asked for again", fail: "carrier.example", known: envelope.Known{Evidence: kept}, asked: []string{"bank.example"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked []string
			o := chain.Options{Trust: set, Now: now,
				Known: func(entry int, _ string) envelope.Known {
					if entry == 0 {
						return c.known
					}
					return envelope.Known{}
				},
				Revocation: func(_ int, p *identity.Platform, k *identity.Key) (identity.Evidence, error) {
					asked = append(asked, p.Domain.Name)
					if p.Domain.Name == c.fail {
						return identity.Evidence{}, down
					}
					s := c.carrier
					if p.Domain.Name == "bank.example" {
						s = c.bank
					}
					return identity.Evidence{CheckedAt: time.Now(), Certificates: k.Certificates, Answers: [][]byte{answer(p.Domain.Name, s)}}, nil
				}}
			got, err := chain.Verify(block, o)
			cerr, _ := errors.AsType[*chain.Error](err)
			if (cerr == nil) != (c.want == "") || cerr != nil && (cerr.Reason != c.want || cerr.Entry != c.entry) {
				t.Fatalf("got %v, want %q at entry %d", err, c.want, c.entry)
			}
			if len(asked) != len(c.asked) || len(asked) > 0 && asked[0] != c.asked[0] {
				t.Errorf("asked about %v, want %v", asked, c.asked)
			}
			if cerr != nil && cerr.Reason == chain.RevocationUnknown && !errors.Is(err, down) {
				t.Errorf("got %v, want the cause in it", err)
			}
			if err == nil && (got.Entries[0].Evidence == nil || len(got.Entries[1].Evidence.Answers) != 1) {
				t.Error("an entry without the evidence that it was judged by")
			}
		})
	}
	// Evidence that does not hold is none: made before the signature, or about another key.
	for name, ev := range map[string]identity.Evidence{
		"before it was signed": {CheckedAt: hour(-3).Add(-6 * time.Minute), Answers: kept.Answers},
		"of another key":       {CheckedAt: now, Answers: [][]byte{answer("bank.example", catest.Single{})}},
	} {
		_, err := chain.Verify(block, chain.Options{Trust: set, Now: now, Known: func(entry int, _ string) envelope.Known {
			if entry == 1 {
				return envelope.Known{Evidence: &identity.Evidence{CheckedAt: now, Answers: [][]byte{answer("bank.example", catest.Single{})}}}
			}
			return envelope.Known{Evidence: &ev}
		}})
		if cerr, _ := errors.AsType[*chain.Error](err); cerr == nil || cerr.Reason != chain.RevocationUnknown || cerr.Entry != 0 {
			t.Errorf("evidence %s: got %v, want %s at entry 0", name, err, chain.RevocationUnknown)
		}
	}
	// Nobody to ask is no reason to believe.
	_, err = chain.Verify(block, chain.Options{Trust: set, Now: now})
	if cerr, _ := errors.AsType[*chain.Error](err); cerr == nil || cerr.Reason != chain.RevocationUnknown || !cerr.Reason.Indeterminate() || cerr.Reason.Class() != chain.Later {
		t.Errorf("nobody to ask: got %v, want %s", err, chain.RevocationUnknown)
	}
	// Ten years later: certificates, authority and answers have expired; the evidence judges
	// for its own time.
	later := now.AddDate(10, 0, 0)
	o := chain.Options{Trust: set, Now: later, Known: func(entry int, _ string) envelope.Known {
		ev := identity.Evidence{CheckedAt: now, Answers: [][]byte{answer([]string{"carrier.example", "bank.example"}[entry], catest.Single{})}}
		return envelope.Known{Evidence: &ev}
	}}
	if _, err := chain.Verify(block, o); err != nil {
		t.Errorf("ten years later, with the evidence: %v", err)
	}
}
