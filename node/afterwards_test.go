package node_test

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// recorder keeps the last block that passed.
type recorder struct {
	node.Peer
	body []byte
}

func (r *recorder) PutTransferblock(ctx context.Context, q node.Request) (node.Reply, error) {
	r.body = q.Body
	return r.Peer.PutTransferblock(ctx, q)
}

// TestChainBuiltOnARejectedEnvelope: the addressee signs a no, the bill is back, and then
// the addressee builds on the envelope all the same. It is a fork, with proof kept, and not
// a hole in our records.
func TestChainBuiltOnARejectedEnvelope(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example", ebltest.Manual())
	alice := a.User("alice")
	rec := &recorder{}
	w.Intercept(func(_, to identity.Host, p node.Peer) node.Peer {
		if to == b.Domain() {
			rec.Peer = p
			return rec
		}
		return p
	})
	doc := a.Issue(alice.ID)
	a.Settled(a.Move(alice, doc, envelope.Transfer, "nobody@b.example").Transfer, node.Rejected)
	forged := b.Extend(rec.body, ebltest.Tx{Instruction: envelope.Transfer, To: alice.ID})
	before := dump(t, a)
	r, err := a.Put(b, forged)
	if err != nil {
		t.Fatal(err)
	}
	rej, err := envelope.OpenRejection(r.Rejection, a.Entry, a.Node().Now())
	if err != nil || rej.Code != envelope.DisputeCode || rej.Reason != node.TextForked {
		t.Errorf("got %+v, %v, want DISE forked", rej, err)
	}
	got := changes(before, dump(t, a))
	for _, table := range []string{"+branches", "+rejections"} {
		if !slices.Contains(got, table) {
			t.Errorf("got the changes %v, want %s among them", got, table)
		}
	}
	mustHold(t, w, doc, alice.ID)
	checkAll(t, w)
}

// TestAnswerWhateverTheOlderEntries: an envelope that was answered has its answer, also
// where an older entry in front of it now names a key that nobody knows.
func TestAnswerWhateverTheOlderEntries(t *testing.T) {
	w := ebltest.New(t)
	a, b, c := w.Platform("a.example"), w.Platform("b.example"), w.Platform("c.example")
	alice, bob, carl := a.User("alice"), b.User("bob"), c.User("carl")
	doc := a.Issue(alice.ID)
	a.Transfer(alice, doc, bob.ID)
	b.Transfer(bob, doc, carl.ID)
	receipt := b.View(doc).Transfer.Verdict
	block := ebltest.Parse(t, c.Block(doc))
	parts := strings.Split(block.Entries[0].JWS.Raw, ".")
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		t.Fatal(err)
	}
	kid := block.Entries[0].JWS.Header.Kid
	parts[0] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(header), kid, "nobodys", 1)))
	strange, err := envelope.ParseEntry(strings.Join(parts, "."), envelope.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	before := dump(t, c)
	r, err := c.Put(b, ebltest.Body(block.Document, strange, block.Entries[1]))
	if err != nil || r.Receipt != receipt {
		t.Errorf("got %+v, %v, want the stored receipt", r, err)
	}
	fresh := b.Seal(doc, strange.Claimed, ebltest.Tx{Instruction: envelope.Transfer, To: carl.ID})
	_, err = c.Put(b, ebltest.Body(block.Document, strange, fresh))
	if e, ok := errors.AsType[*node.Error](err); !ok || e.Code != node.Forbidden || e.Text != "unknownKey" {
		t.Errorf("a fresh envelope over it: got %v, want 7103 unknownKey", err)
	}
	if after := dump(t, c); !slices.Equal(before, after) {
		t.Errorf("something changed: %v", changes(before, after))
	}
}

// TestReplacedToken: the old token stops at once, and a disabled user is back.
func TestReplacedToken(t *testing.T) {
	a := ebltest.New(t).Platform("a.example")
	alice := a.User("alice")
	doc := a.Issue(alice.ID)
	if err := a.Node().DisableUser(t.Context(), "op", "alice"); err != nil {
		t.Fatal(err)
	}
	token, err := a.Node().ReplaceToken(t.Context(), "op", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Node().Authenticate(t.Context(), alice.Token); err == nil {
		t.Error("the old token still opens")
	}
	u, err := a.Node().Authenticate(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Node().Bill(t.Context(), u, doc); err != nil {
		t.Errorf("its bill: %v", err)
	}
	before := dump(t, a)
	if _, err := a.Node().ReplaceToken(t.Context(), "op", "nobody"); err == nil {
		t.Error("a token for nobody: got no error")
	}
	if after := dump(t, a); !slices.Equal(before, after) {
		t.Errorf("something changed: %v", changes(before, after))
	}
}

// A talker rejects everything, at length.
type talker struct {
	node.Peer
	as *ebltest.Platform
}

func (p *talker) PutTransferblock(_ context.Context, r node.Request) (node.Reply, error) {
	b, err := envelope.Parse(r.Body, envelope.Limits{})
	if err != nil {
		return node.Reply{}, err
	}
	rej, err := envelope.SignRejection(envelope.Rejection{EnvelopeHash: b.Last().Hash(), JWSSum: envelope.HashOf([]byte(b.Last().JWS.Raw)),
		Sender: r.Sender, Receiver: p.as.Domain(), Code: envelope.BadEnvelopeCode, Reason: "\x1b[2J" + strings.Repeat("x", 100000), At: p.as.Node().Now()}, p.as.Signer)
	return node.Reply{Rejection: rej}, err
}
