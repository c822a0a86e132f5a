package main

import (
	"database/sql"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/internal/vectest"
	"eblnode/judge"
	"eblnode/node"
	"eblnode/testvectors"

	_ "modernc.org/sqlite"
)

// blocks lists every test vector that is a block.
func blocks(t *testing.T) (list []*testvectors.Vector) {
	t.Helper()
	for _, family := range testvectors.Families {
		vs, err := testvectors.Load(family)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range vs {
			if v.Kind == "block" {
				list = append(list, v)
			}
		}
	}
	if len(list) < 400 {
		t.Fatalf("got %d vectors, want 400 at least", len(list))
	}
	return list
}

// judged is the verdict of eblverify on a vector.
func judged(t *testing.T, v *testvectors.Vector) (r *judge.Report, body []byte, at time.Time) {
	t.Helper()
	body, err := v.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if at, err = time.Parse(time.RFC3339, v.At); err != nil {
		t.Fatal(err)
	}
	_, trust := vectest.Platforms(t, v.Trust)
	return judge.File(body, judge.Options{Trust: trust, Now: at}), body, at
}

// needsConnection: the vector is about who sent it, or when it came, which no file says.
func needsConnection(v *testvectors.Vector) bool {
	return v.Reason == "signerMismatch" || v.Spec == "K5" && v.Sender != "" && v.Expect != "accept"
}

func TestVectors(t *testing.T) {
	verdicts := map[string]judge.Verdict{"accept": judge.Valid, "malformed": judge.Invalid, "signature": judge.Invalid, "chain": judge.Invalid, "indeterminate": judge.Indeterminate}
	skipped := 0
	for _, v := range blocks(t) {
		if needsConnection(v) {
			skipped++
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			r, _, _ := judged(t, v)
			got := r.Verdict
			if got == judge.ValidThen {
				got = judge.Valid // vectors are of a past whose keys may have ended
			}
			if got != verdicts[v.Expect] || r.Reason != v.Reason || r.Law != v.Law {
				t.Fatalf("%s: got %s %s %s (%s), want %s %s %s", v.Comment, r.Verdict, r.Reason, r.Law, r.Detail, verdicts[v.Expect], v.Reason, v.Law)
			}
			if v.Expect == "accept" {
				checkValid(t, r, v.State)
				return
			}
			if r.Detail == "" || r.State != nil || len(r.Entries) > 0 {
				t.Errorf("a refusal says why and nothing of who is in control: got %+v", r)
			}
			for what, place := range map[string]struct {
				got  int
				want *int
			}{"entry": {r.Entry, v.Entry}, "transaction": {r.Transaction, v.Transaction}} {
				// The parser tells the place by the path alone.
				if v.Expect != "malformed" && place.want != nil && place.got != *place.want {
					t.Errorf("%s: got %d, want %d", what, place.got, *place.want)
				}
			}
			if v.Path != "" && r.Path != v.Path {
				t.Errorf("path: got %s, want %s", r.Path, v.Path)
			}
		})
	}
	if skipped > 10 {
		t.Errorf("%d vectors left out; those about the connection are few", skipped)
	}
}

func checkValid(t *testing.T, r *judge.Report, want *testvectors.State) {
	t.Helper()
	got := testvectors.State{Possessor: r.State.Possessor, Status: r.State.Status, Issuing: r.State.Issuing, ToOrder: r.State.ToOrder,
		Head: r.State.Head, Length: r.State.Length, DocumentHash: r.Document}
	if got != *want {
		t.Errorf("state: got %+v, want %+v", got, *want)
	}
	if len(r.Entries) != want.Length || r.Entry != -1 || r.Transaction != -1 {
		t.Errorf("got %d entries, place %d, %d, want %d entries and no place", len(r.Entries), r.Entry, r.Transaction, want.Length)
	}
	for i, e := range r.Entries {
		if e.Signer == "" || e.Fingerprint == "" || e.SignedAt == "" || len(e.Transactions) == 0 {
			t.Errorf("entry %d: got %+v, want signer, key, time and transactions", i, e)
		}
	}
}

// TestAgreesWithNode offers every vector to a real node, as the platform that signed it,
// and compares: what eblverify calls valid, the node takes as far as the question whether
// the bill is for it; what eblverify calls invalid or indeterminate, the node refuses for
// the same reason, in the same place.
func TestAgreesWithNode(t *testing.T) {
	byTrust := map[string][]*testvectors.Vector{}
	for _, v := range blocks(t) {
		byTrust[v.Trust] = append(byTrust[v.Trust], v)
	}
	var compared atomic.Int64
	t.Run("trust", func(t *testing.T) {
		for name, list := range byTrust {
			t.Run(name, func(t *testing.T) {
				j := newJury(t, name)
				for _, v := range list {
					if j.compare(t, v) {
						compared.Add(1)
					}
				}
			})
		}
	})
	if n := compared.Load(); n < 530 {
		t.Errorf("%d vectors compared, want 530 at least", n)
	}
}

// A jury is a node with the platforms of one trust file for peers.
type jury struct {
	receiver *ebltest.Platform
	clock    atomic.Pointer[time.Time]
	trust    *identity.Trust
	db       *sql.DB
}

func newJury(t *testing.T, trustName string) *jury {
	t.Helper()
	j := &jury{}
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	j.clock.Store(&at)
	j.receiver = ebltest.New(t).Platform("receiver.example", ebltest.Manual(), ebltest.Configure(func(c *node.Config) {
		c.Now = func() time.Time { return *j.clock.Load() }
		c.VerdictsPerHour = 1 << 30
	}), ebltest.WithEntry(func(p *identity.Platform) {
		// A key without the window of a certificate: the vectors are of other years.
		p.Keys[0].NotBefore, p.Keys[0].NotAfter, p.Keys[0].Certificates, p.Quirks.BareKey = time.Time{}, time.Time{}, nil, true
	}))
	ps, trust := vectest.Platforms(t, trustName)
	j.trust = trust
	if err := j.receiver.Node().AddPeers(t.Context(), "test", ps); err != nil {
		t.Fatal(err)
	}
	var err error
	if j.db, err = sql.Open("sqlite", "file:"+filepath.Join(j.receiver.Dir, node.DatabaseFile)+"?_pragma=busy_timeout(5000)"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.db.Close() })
	return j
}

// sender is who sends the block; false where no trusted platform could.
func (j *jury) sender(t *testing.T, v *testvectors.Vector, body []byte) (identity.Host, bool) {
	t.Helper()
	if v.Sender != "" {
		h, err := identity.ParseHost(v.Sender)
		if err != nil {
			t.Fatal(err)
		}
		p, found := j.trust.Find(h)
		return h, found && p.Domain == h
	}
	b, err := envelope.Parse(body, envelope.Limits{})
	if err != nil {
		return j.trust.Platforms()[0].Domain, true
	}
	p, found := j.trust.Find(b.Last().Payload.Transactions[0].PlatformHost)
	if !found {
		return identity.Host{}, false
	}
	return p.Domain, true
}

// compare holds the node's answer against that of eblverify; false: the node cannot be
// asked.
func (j *jury) compare(t *testing.T, v *testvectors.Vector) bool {
	t.Helper()
	if slices.Contains(v.Flags, "offline") {
		return false // a receiver's answer is another vector
	}
	r, body, at := judged(t, v)
	j.clock.Store(&at)
	sender, ok := j.sender(t, v, body)
	if !ok {
		return false
	}
	// Each vector meets a node that has not answered it before.
	if _, err := j.db.ExecContext(t.Context(), "DELETE FROM rejections"); err != nil {
		t.Fatal(err)
	}
	reply, err := j.receiver.Node().PutTransferblock(t.Context(), node.Request{Sender: sender, Body: body})
	no := reply.Refusal
	if err != nil {
		no = node.AsError(err)
	}
	if no == nil {
		t.Errorf("%s: the node accepted what is not for it", v.Name)
		return true
	}
	if needsConnection(v) {
		if no.Text != v.Reason {
			t.Errorf("%s: the node says %v, want %s", v.Name, no, v.Reason)
		}
		return true
	}
	reason := r.Reason
	if r.Law != "" {
		reason += "/" + r.Law
	}
	if r.Verdict.Holds() {
		reason = node.TextNotForUs
	}
	if no.Text != reason {
		t.Errorf("%s: the node says %v, eblverify %s %s", v.Name, no, r.Verdict, reason)
	}
	if !r.Verdict.Holds() && (no.Path != r.Path || strings.TrimSpace(r.Detail) == "") {
		t.Errorf("%s: the node names the place %q, eblverify %q", v.Name, no.Path, r.Path)
	}
	// A verdict of invalid is never one that the node would not stand by: it signs it, or
	// the text is no block at all. The one that may change is not called invalid.
	signed := reply.Rejection != ""
	switch {
	case r.Verdict == judge.Invalid && r.Reason != "malformed" && !signed,
		r.Verdict == judge.Indeterminate && signed && r.Reason != node.TextNotTrusted:
		t.Errorf("%s: eblverify says %s (%s), the node signed: %t", v.Name, r.Verdict, r.Reason, signed)
	}
	return true
}
