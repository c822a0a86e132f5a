package api_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"eblnode/discovery"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
	"eblnode/testvectors"
)

// withoutNonce signs as the vectors are signed (RFC 6979), so that the node's own entries come
// out as they stand there.
type withoutNonce struct{ crypto.Signer }

func (s withoutNonce) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.Signer.Sign(nil, digest, opts)
}

// vectorSigner signs with a key of the vectors.
func vectorSigner(t *testing.T, name string) *identity.Signer {
	t.Helper()
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
	priv, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil {
		t.Fatal(err)
	}
	s, err := identity.NewSigner(&identity.Key{ID: name, Public: priv.Public()}, "ES256", withoutNonce{priv})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asReceiver makes the node the receiver of the vectors' trust file of that name: it signs
// with the same key, and the other platforms accept what it sends them.
func asReceiver(t *testing.T) []ebltest.Option {
	signer := vectorSigner(t, "receiver-1")
	return []ebltest.Option{
		ebltest.Configure(func(c *node.Config) {
			c.Signer = signer
			c.Dial = func(to *identity.Platform, _ discovery.Endpoint) (node.Peer, error) {
				return accepting{vectorSigner(t, map[string]string{"bank.example": "bank-1", "carrier.example": "carrier-1"}[to.Domain.Name]), c.Now}, nil
			}
		}),
		ebltest.WithEntry(func(p *identity.Platform) {
			signer.Key.Platform = p.Domain
			p.Keys = []*identity.Key{signer.Key}
		}),
	}
}

// An accepting platform signs a receipt for whatever it gets: that is how the vectors say
// that the receiver's own envelope was taken.
type accepting struct {
	signer *identity.Signer
	now    func() time.Time
}

func (a accepting) Check(context.Context, identity.Host) error { return nil }

func (a accepting) PutTransferblock(_ context.Context, r node.Request) (node.Reply, error) {
	b, err := envelope.Parse(r.Body, envelope.Limits{})
	if err != nil {
		return node.Reply{}, err
	}
	receipt, err := envelope.SignReceipt(b.Last().Claimed, a.signer, a.now())
	return node.Reply{Receipt: receipt}, err
}

func (a accepting) Verdict(context.Context, identity.Host, envelope.Hash) (string, error) {
	return "", &node.Error{Code: node.NotFound, Text: "notFound"}
}

// live lets the node do what stands before the requests: it issues, signs on, accepts and
// takes a verdict, as it would over time. What it then holds is, byte for byte, the block of
// the vector.
func (w *wire) live(t *testing.T, x *testvectors.Exchange, b testvectors.Before) {
	t.Helper()
	block := ebltest.Parse(t, b.Input)
	end := *w.clock.Load()
	defer w.clock.Store(&end)
	canonical, err := envelope.Canonicalize(block.Document)
	if err != nil {
		t.Fatal(err)
	}
	block.Document = canonical // the vector stands indented in its file
	document, err := block.DocumentHash(nil)
	if err != nil {
		t.Fatal(err)
	}
	by := "" // the user in control, where it is one of ours
	for i := range block.Entries {
		txs := block.Entries[i].Payload.Transactions
		for _, tx := range txs {
			at := tx.At
			w.clock.Store(&at)
			switch {
			case tx.PlatformHost != w.receiver.Domain():
			case tx.Instruction == envelope.Issue:
				_, err = w.receiver.Node().Issue(t.Context(), w.receiver.User(b.Issuer).User, node.IssueOrder{Document: block.Document, To: tx.TransfereeRaw})
			default:
				var moved node.Moved
				moved, err = w.receiver.Node().Move(t.Context(), w.receiver.User(by).User, document, node.MoveOrder{Instruction: tx.Instruction, To: tx.TransfereeRaw})
				if err == nil && moved.Transfer != "" {
					w.receiver.Settled(moved.Transfer, node.Accepted)
				}
			}
			if err != nil {
				t.Fatalf("entry %d, %s: %v", i, tx.Instruction, err)
			}
			by = tx.Transferee.ID.Local
		}
		if host := txs[0].PlatformHost; host != w.receiver.Domain() {
			part := *block
			part.Entries = block.Entries[:i+1]
			if got := do(t, w.clients[host], call{method: http.MethodPut, url: "https://" + w.receiver.Addr + "/v1/transferblocks", body: part.Marshal(false), header: http.Header{}}); got.status != http.StatusOK {
				t.Fatalf("entry %d: got %d %.300s", i, got.status, got.answer)
			}
		}
	}
	if got := ebltest.Parse(t, w.receiver.Block(document)); string(got.Marshal(false)) != string(block.Marshal(false)) {
		t.Fatalf("%s: the node holds\n%s\nwant\n%s", x.Name, got.Marshal(false), block.Marshal(false))
	}
	w.clock.Store(&end)
	if b.Verdict != "" {
		if err := w.receiver.Node().TakeVerdict(t.Context(), "test", b.Verdict); err != nil {
			t.Fatal(err)
		}
	}
	if b.AnswersLost {
		if _, err := w.db.ExecContext(t.Context(), "DELETE FROM receipts"); err != nil {
			t.Fatal(err)
		}
	}
}
