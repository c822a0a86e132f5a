package node_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"eblnode/discovery"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// wire stands between all nodes of a network: what passes is kept, and put may answer in
// the place of the peer.
type wire struct {
	mu   sync.Mutex
	sent map[envelope.Hash][][]byte // bodies by document
	put  func(from, to identity.Host, r node.Request, pass func() (node.Reply, error)) (node.Reply, error)
}

func tap(w *ebltest.Network) *wire {
	x := &wire{sent: map[envelope.Hash][][]byte{}}
	w.Intercept(func(from, to identity.Host, p node.Peer) node.Peer { return tapped{p, x, from, to} })
	return x
}

// answer makes f the answer from now on; nil lets everything pass.
func (x *wire) answer(f func(from, to identity.Host, r node.Request, pass func() (node.Reply, error)) (node.Reply, error)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.put = f
}

func (x *wire) bodies(document envelope.Hash) [][]byte {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.sent[document]
}

// mustSendTheSame fails the test unless all requests for the bill from its n-th on were
// the same bytes.
func (x *wire) mustSendTheSame(t testing.TB, document envelope.Hash) {
	t.Helper()
	all := x.bodies(document)
	for i, b := range all {
		if string(b) != string(all[0]) {
			t.Errorf("attempt %d of %d sent other bytes than the first", i+1, len(all))
		}
	}
}

type tapped struct {
	node.Peer
	x        *wire
	from, to identity.Host
}

func (p tapped) PutTransferblock(ctx context.Context, r node.Request) (node.Reply, error) {
	b, err := envelope.Parse(r.Body, envelope.Limits{})
	if err != nil {
		return node.Reply{}, err
	}
	doc := b.Last().Payload.DocumentHash
	p.x.mu.Lock()
	p.x.sent[doc] = append(p.x.sent[doc], r.Body)
	put := p.x.put
	p.x.mu.Unlock()
	pass := func() (node.Reply, error) { return p.Peer.PutTransferblock(ctx, r) }
	if put == nil {
		return pass()
	}
	return put(p.from, p.to, r, pass)
}

var errCut = errors.New("connection reset by peer")

// lose passes the request on and loses the answer.
func lose(_, _ identity.Host, _ node.Request, pass func() (node.Reply, error)) (node.Reply, error) {
	_, _ = pass()
	return node.Reply{}, errCut
}

// drop loses the request.
func drop(_, _ identity.Host, _ node.Request, _ func() (node.Reply, error)) (node.Reply, error) {
	return node.Reply{}, errCut
}

func lastOf(r node.Request) envelope.Entry {
	b, err := envelope.Parse(r.Body, envelope.Limits{})
	if err != nil {
		panic(err)
	}
	return *b.Last()
}

func reject(s *identity.Signer, e envelope.Entry, from, to identity.Host, code envelope.ResponseCode) node.Reply {
	jws, err := envelope.SignRejection(envelope.Rejection{EnvelopeHash: e.Hash(), JWSSum: envelope.HashOf([]byte(e.JWS.Raw)),
		Sender: from, Receiver: to, Code: code, Reason: "test", At: time.Now()}, s)
	if err != nil {
		panic(err)
	}
	return node.Reply{Rejection: jws}
}

func receipt(s *identity.Signer, h envelope.Hash) node.Reply {
	jws, err := envelope.SignReceipt(h, s, time.Now())
	if err != nil {
		panic(err)
	}
	return node.Reply{Receipt: jws}
}

func TestStateIsSendingOnTheDiskBeforeTheFirstByte(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example")
	x := tap(w)
	doc := a.Issue(a.User("al").ID)
	moved := a.Move(a.User("al"), doc, envelope.Transfer, b.User("bob").ID)
	if v := a.View(doc); v.Control != node.Locked || v.Transfer.State != node.Prepared || !v.Transfer.SentAt.IsZero() || v.Transfer.InDoubt {
		t.Errorf("before: got %s and %+v", v.Control, v.Transfer)
	}
	seen := make(chan *node.TransferView, 1)
	x.answer(func(_, _ identity.Host, _ node.Request, pass func() (node.Reply, error)) (node.Reply, error) {
		select {
		case seen <- a.View(doc).Transfer:
		default:
		}
		return pass()
	})
	defer a.Run()()
	a.Settled(moved.Transfer, node.Accepted)
	if v := <-seen; v.State != node.Sending || !v.InDoubt || v.SentAt.IsZero() {
		t.Errorf("when the first byte left: got %+v, want sending", v)
	}
	checkAll(t, w)
}

// TestAnswersThatSettleNothing: only the addressee's signature over this very transfer
// does; after anything else the bill stays locked, the same bytes are sent again, and the
// true answer still counts.
func TestAnswersThatSettleNothing(t *testing.T) {
	t.Parallel()
	w := ebltest.New(t)
	a, b, c := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example"), w.Platform("c.example")
	al, bob := a.User("al"), b.User("bob")
	x := tap(w)
	stranger, err := identity.GenerateSigner(b.Domain(), identity.ES256, identity.CertificateSpec{Subject: "other", NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	other, _ := a.Offer(bob.ID)
	elsewhere := *ebltest.Parse(t, other).Last()
	verdict, err := envelope.SignVerdict(envelope.Verdict{DocumentHash: elsewhere.Hash(), Kind: envelope.Surrendered, At: time.Now()}, b.Signer)
	if err != nil {
		t.Fatal(err)
	}
	A, B, C := a.Domain(), b.Domain(), c.Domain()
	cases := map[string]func(e envelope.Entry) (node.Reply, error){
		"unsigned 500":                    func(envelope.Entry) (node.Reply, error) { return node.Reply{}, node.AsError(errors.New("x")) },
		"unsigned refusal that says BENV": func(envelope.Entry) (node.Reply, error) { return node.Reply{}, &node.Error{Code: node.BENV, Text: "x"} },
		"connection cut":                  func(envelope.Entry) (node.Reply, error) { return node.Reply{}, errCut },
		"nothing":                         func(envelope.Entry) (node.Reply, error) { return node.Reply{}, nil },
		"garbage":                         func(envelope.Entry) (node.Reply, error) { return node.Reply{Receipt: "<html>"}, nil },
		"garbage rejection":               func(envelope.Entry) (node.Reply, error) { return node.Reply{Rejection: "<html>"}, nil },
		"receipt by a third platform":     func(e envelope.Entry) (node.Reply, error) { return receipt(c.Signer, e.Claimed), nil },
		"receipt by ourselves":            func(e envelope.Entry) (node.Reply, error) { return receipt(a.Signer, e.Claimed), nil },
		"receipt by an unknown key":       func(e envelope.Entry) (node.Reply, error) { return receipt(stranger, e.Claimed), nil },
		"receipt for another envelope":    func(envelope.Entry) (node.Reply, error) { return receipt(b.Signer, elsewhere.Claimed), nil },
		"our own envelope as receipt":     func(e envelope.Entry) (node.Reply, error) { return node.Reply{Receipt: e.JWS.Raw}, nil },
		"rejection as receipt": func(e envelope.Entry) (node.Reply, error) {
			return node.Reply{Receipt: reject(b.Signer, e, A, B, "BENV").Rejection}, nil
		},
		"receipt as rejection": func(e envelope.Entry) (node.Reply, error) {
			return node.Reply{Rejection: receipt(b.Signer, e.Claimed).Receipt}, nil
		},
		"verdict as receipt":            func(envelope.Entry) (node.Reply, error) { return node.Reply{Receipt: verdict}, nil },
		"verdict as rejection":          func(envelope.Entry) (node.Reply, error) { return node.Reply{Rejection: verdict}, nil },
		"rejection by a third platform": func(e envelope.Entry) (node.Reply, error) { return reject(c.Signer, e, A, B, "BENV"), nil },
		"rejection by ourselves":        func(e envelope.Entry) (node.Reply, error) { return reject(a.Signer, e, A, B, "BENV"), nil },
		"rejection by an unknown key":   func(e envelope.Entry) (node.Reply, error) { return reject(stranger, e, A, B, "BENV"), nil },
		"rejection of another transfer": func(envelope.Entry) (node.Reply, error) { return reject(b.Signer, elsewhere, A, B, "BENV"), nil },
		"rejection of the twin": func(e envelope.Entry) (node.Reply, error) {
			return reject(b.Signer, ebltest.Twin(t, e), A, B, "BSIG"), nil
		},
		"rejection for another sender":     func(e envelope.Entry) (node.Reply, error) { return reject(b.Signer, e, C, B, "BENV"), nil },
		"rejection to another receiver":    func(e envelope.Entry) (node.Reply, error) { return reject(b.Signer, e, A, C, "BENV"), nil },
		"dispute by a third platform":      func(e envelope.Entry) (node.Reply, error) { return reject(c.Signer, e, C, B, "DISE"), nil },
		"rejection with a code of its own": func(e envelope.Entry) (node.Reply, error) { return reject(b.Signer, e, A, B, "NOPE"), nil },
		"wrong receipt beside true rejection": func(e envelope.Entry) (node.Reply, error) {
			r := reject(b.Signer, e, A, B, "BENV")
			r.Receipt = "x"
			return r, nil
		},
	}
	lies := map[envelope.Hash]func(envelope.Entry) (node.Reply, error){}
	moved := map[string]node.Moved{}
	for name, f := range cases {
		doc := a.Issue(al.ID)
		lies[doc] = f
		moved[name] = a.Move(al, doc, envelope.Transfer, bob.ID)
	}
	x.answer(func(_, _ identity.Host, r node.Request, _ func() (node.Reply, error)) (node.Reply, error) {
		e := lastOf(r)
		return lies[e.Payload.DocumentHash](e)
	})
	stop := a.Run()
	for name, m := range moved {
		waitFor(t, "two attempts of "+name, func() bool { return a.View(m.Document).Transfer.Attempts >= 2 })
	}
	for name, m := range moved {
		v := a.View(m.Document)
		if v.Control != node.Locked || v.Transfer.State != node.Sending || !v.Transfer.InDoubt || v.Transfer.LastAnswer == "" || v.Possessor != al.ID {
			t.Errorf("%s: got %s and %+v, want locked and in doubt", name, v.Control, v.Transfer)
		}
		_, err := a.Node().Move(t.Context(), al.User, m.Document, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(c.User("cees").ID)})
		mustRefuse(t, err, node.Conflict, "locked")
	}
	checkAll(t, w)
	stop()
	x.answer(nil)
	a.Restart()
	stop = a.Run()
	defer stop()
	for _, m := range moved {
		a.Settled(m.Transfer, node.Accepted)
		mustHold(t, w, m.Document, bob.ID)
		x.mustSendTheSame(t, m.Document)
	}
	checkAll(t, w)
}

// TestRejectionGivesTheBillBack: then it can go elsewhere, and the rejected envelope can
// never take effect any more.
func TestRejectionGivesTheBillBack(t *testing.T) {
	w := ebltest.New(t)
	a, b, c := w.Platform("a.example"), w.Platform("b.example"), w.Platform("c.example")
	al, cees := a.User("al"), c.User("cees")
	x := tap(w)
	t.Run("BENV by the peer itself", func(t *testing.T) {
		doc := a.Issue(al.ID)
		v := a.Settled(a.Move(al, doc, envelope.Transfer, "late@b.example").Transfer, node.Rejected)
		if !strings.Contains(v.LastAnswer, "transfereeNotAccepted") || v.SettledBy != "rejection" {
			t.Errorf("got %+v", v)
		}
		mustHold(t, w, doc, al.ID)
		rejected := x.bodies(doc)[0]
		b.User("late")
		a.Transfer(al, doc, cees.ID)
		mustChange(t, b, func() {
			if r, err := b.Put(a, rejected); err != nil || r.Receipt != "" {
				t.Errorf("the rejected envelope later: got %+v and %v", r, err)
			}
		})
		mustHold(t, w, doc, cees.ID)
	})
	t.Run("BSIG", func(t *testing.T) {
		doc := a.Issue(al.ID)
		x.answer(func(from, to identity.Host, r node.Request, _ func() (node.Reply, error)) (node.Reply, error) {
			return reject(b.Signer, lastOf(r), from, to, "BSIG"), nil
		})
		a.Settled(a.Move(al, doc, envelope.Transfer, b.User("bob").ID).Transfer, node.Rejected)
		x.answer(nil)
		a.Transfer(al, doc, cees.ID)
		mustHold(t, w, doc, cees.ID)
	})
	checkAll(t, w)
}

// TestFreshEnvelopeAfterRejectionIsAnotherOne, also where the clock stands still: the
// envelope rejected with BENV is never accepted, so the same one again would never be.
func TestFreshEnvelopeAfterRejectionIsAnotherOne(t *testing.T) {
	w := ebltest.New(t)
	now := time.Now()
	a, b := w.Platform("a.example", ebltest.Configure(func(c *node.Config) { c.Now = func() time.Time { return now } })), w.Platform("b.example")
	al := a.User("al")
	doc := a.Issue(al.ID)
	a.Settled(a.Move(al, doc, envelope.Transfer, "late@b.example").Transfer, node.Rejected)
	b.User("late")
	a.Transfer(al, doc, "late@b.example")
	mustHold(t, w, doc, "late@b.example")
	checkAll(t, w)
}

// TestDisputeFreezes: DISE never gives the bill back.
func TestDisputeFreezes(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	al, bob := a.User("al"), b.User("bob")
	x := tap(w)
	doc := a.Issue(al.ID)
	x.answer(func(from, to identity.Host, r node.Request, _ func() (node.Reply, error)) (node.Reply, error) {
		return reject(b.Signer, lastOf(r), from, to, "DISE"), nil
	})
	a.Settled(a.Move(al, doc, envelope.Transfer, bob.ID).Transfer, node.DisputedT)
	x.answer(nil)
	for range 2 {
		v := a.View(doc)
		if v.Control != node.Disputed || !strings.Contains(v.Reason, "disputed") {
			t.Errorf("got %s, %q", v.Control, v.Reason)
		}
		for _, to := range []string{bob.ID, "issuer@a.example"} {
			_, err := a.Node().Move(t.Context(), al.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(to)})
			mustRefuse(t, err, node.Conflict, "locked")
		}
		a.Restart()
	}
	if n := len(x.bodies(doc)); n != 1 {
		t.Errorf("a disputed transfer was sent %d times", n)
	}
	checkAll(t, w)
}

func TestRestartInEachState(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example")
	al, bob := a.User("al"), b.User("bob")
	x := tap(w)
	for name, loss := range map[string]func(from, to identity.Host, r node.Request, pass func() (node.Reply, error)) (node.Reply, error){
		"prepared": nil, "sent and lost": drop, "accepted and its receipt lost": lose} {
		t.Run(name, func(t *testing.T) {
			doc := a.Issue(al.ID)
			moved := a.Move(al, doc, envelope.Transfer, bob.ID)
			for range 2 {
				if loss != nil {
					x.answer(loss)
					stop := a.Run()
					n := a.View(doc).Transfer.Attempts
					waitFor(t, "an attempt", func() bool { return a.View(doc).Transfer.Attempts > n })
					stop()
				}
				before := dump(t, a)
				a.Restart()
				if got := changes(before, dump(t, a)); len(got) != 0 {
					t.Errorf("the restart changed %v", got)
				}
				if got := a.View(doc).Control; got != node.Locked {
					t.Errorf("got %s", got)
				}
				checkNode(t, a)
			}
			x.answer(nil)
			stop := a.Run()
			a.Settled(moved.Transfer, node.Accepted)
			stop()
			mustHold(t, w, doc, bob.ID)
			x.mustSendTheSame(t, doc)
			checkAll(t, w)
		})
	}
}

// TestReceiptThatNeverCame: the bill comes home, straight or over a third platform, and
// that proves the transfer in doubt; who waits for it is told.
func TestReceiptThatNeverCame(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"straight", "over a third platform"} {
		t.Run(name, func(t *testing.T) {
			w := ebltest.New(t)
			a, b, c := w.Platform("a.example"), w.Platform("b.example"), w.Platform("c.example")
			al, bob, cees := a.User("al"), b.User("bob"), c.User("cees")
			x := tap(w)
			late := make(chan node.Reply, 100)
			x.answer(func(from, _ identity.Host, _ node.Request, pass func() (node.Reply, error)) (node.Reply, error) {
				r, err := pass()
				if from == a.Domain() {
					late <- r
					return node.Reply{}, errCut
				}
				return r, err
			})
			doc := a.Issue(al.ID)
			moved := a.Move(al, doc, envelope.Transfer, bob.ID)
			told := make(chan *node.TransferView, 1)
			go func() {
				v, _ := a.Node().Await(t.Context(), al.User, moved.Transfer)
				told <- v
			}()
			waitFor(t, "the bill at b", func() bool { return len(late) > 0 })
			at, holder := b, bob
			if name != "straight" {
				b.Transfer(bob, doc, cees.ID)
				at, holder = c, cees
			}
			at.Transfer(holder, doc, al.ID)
			mustHold(t, w, doc, al.ID)
			select {
			case v := <-told:
				if v.State != node.Accepted || v.SettledBy != "chain" || v.Verdict != "" {
					t.Errorf("got %+v, want accepted by the chain", v)
				}
			case <-time.After(ebltest.Patience):
				t.Error("who waits for the transfer is not told")
			}
			// It can go on, and the old receipt changes nothing.
			x.answer(nil)
			a.Transfer(al, doc, bob.ID)
			mustHold(t, w, doc, bob.ID)
			checkAll(t, w)
		})
	}
}

// TestEndpointChangesWhileInDoubt: the bytes go to the new place, to the same platform.
func TestEndpointChangesWhileInDoubt(t *testing.T) {
	w := ebltest.New(t)
	var mu sync.Mutex
	var places []string
	a := w.Platform("a.example", ebltest.Configure(func(c *node.Config) {
		resolve := c.Resolve
		c.Resolve = func(ctx context.Context, p *identity.Platform) (discovery.Endpoint, error) {
			mu.Lock()
			defer mu.Unlock()
			places = append(places, p.Endpoint)
			return resolve(ctx, p)
		}
	}))
	b := w.Platform("b.example")
	al, bob := a.User("al"), b.User("bob")
	x := tap(w)
	x.answer(drop)
	doc := a.Issue(al.ID)
	moved := a.Move(al, doc, envelope.Transfer, bob.ID)
	waitFor(t, "an attempt", func() bool { return a.View(doc).Transfer.Attempts > 0 })
	entry := *b.Entry
	entry.Endpoint = "https://new.b.example/v1/transferblocks"
	if err := a.Node().AddPeers(t.Context(), "test", []*identity.Platform{&entry}); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, a.Node().RemovePeer(t.Context(), "test", b.Domain()), node.Conflict, "locked")
	x.answer(nil)
	a.Settled(moved.Transfer, node.Accepted)
	x.mustSendTheSame(t, doc)
	mu.Lock()
	defer mu.Unlock()
	if places[0] != "" || places[len(places)-1] != entry.Endpoint {
		t.Errorf("asked at %q", places)
	}
	checkAll(t, w)
}

// TestNothingIsSealedForAPeerThatIsNotReady: a bill sealed for nobody would stay locked.
func TestNothingIsSealedForAPeerThatIsNotReady(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	x := w.Platform("x.example", ebltest.Stranger())
	al := a.User("al")
	doc := a.Issue(al.ID)
	move := func(to string) error {
		_, err := a.Node().Move(t.Context(), al.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(to)})
		return err
	}
	mustChange(t, a, func() { mustRefuse(t, move("x@x.example"), node.NotPossible, "platformNotTrusted") })
	a.Trust(x)
	mustChange(t, a, func() { mustRefuse(t, move("x@x.example"), node.NotPossible, "peerNotReady") }) // it does not know us
	b.Stop()
	mustChange(t, a, func() { mustRefuse(t, move("bob@b.example"), node.NotPossible, "peerNotReady") })
	mustHold(t, w, doc, al.ID)
	b.Start()
	a.Transfer(al, doc, b.User("bob").ID)
	checkAll(t, w)
}

func TestPauseGrowsAndIsCapped(t *testing.T) {
	w := ebltest.New(t)
	a := w.Platform("a.example", ebltest.Configure(func(c *node.Config) { c.Retry = 0 }))
	distinct := map[time.Duration]bool{}
	for attempts := range 100 {
		most := 15 * time.Minute
		if attempts < 10 {
			most = min(most, time.Second<<attempts)
		}
		for range 20 {
			d := node.Pause(a.Node(), attempts)
			if d < most/2 || d > most {
				t.Fatalf("after %d attempts: got %s, want %s to %s", attempts, d, most/2, most)
			}
			distinct[d] = true
		}
	}
	if len(distinct) < 100 {
		t.Errorf("only %d pauses: no jitter", len(distinct))
	}
}
