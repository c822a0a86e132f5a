package ebltest

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/node"
)

// User is the local user of that name; it is added with the role when asked for first.
// Without a role it is a holder.
func (p *Platform) User(local string, role ...node.Role) *User {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if u := p.users[local]; u != nil {
		return u
	}
	u := node.User{Local: local, Name: local, Role: node.HolderRole}
	if len(role) > 0 {
		u.Role = role[0]
	}
	return p.addUser(u)
}

// AddUser adds a user with particulars.
func (p *Platform) AddUser(u node.User) *User {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addUser(u)
}

func (p *Platform) addUser(u node.User) *User {
	p.t.Helper()
	token, err := p.Node().AddUser(context.Background(), "ebltest", u)
	if err != nil {
		p.t.Fatal(err)
	}
	out := &User{User: &u, Token: token, ID: u.Local + "@" + p.Domain().String()}
	p.users[u.Local] = out
	return out
}

// Document is a new transport document with a reference of its own.
func (p *Platform) Document() []byte {
	p.mu.Lock()
	p.seq++
	seq := p.seq
	p.mu.Unlock()
	return fmt.Appendf(nil, `{"carrierCode":"MAEU","carrierCodeListProvider":"SMDG","isToOrder":true,"transportDocumentReference":"%s-%05d","vesselName":"M/V Ærø"}`,
		p.Domain().Name[:min(8, len(p.Domain().Name))], seq)
}

// Quote is s as a JSON string, the short form of a transferee.
func Quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return b
}

// Issue issues a bill with a new document to the identifier to. The platform's issuer is
// the user "issuer", made when needed. Where to is on another platform Issue returns
// once the transfer is settled.
func (p *Platform) Issue(to string) envelope.Hash {
	p.t.Helper()
	moved, err := p.Node().Issue(context.Background(), p.User("issuer", node.IssuerRole).User,
		node.IssueOrder{Document: p.Document(), To: Quote(to)})
	if err != nil {
		p.t.Fatalf("issuing to %s: %v", to, err)
	}
	if moved.Transfer != "" {
		p.Settled(moved.Transfer, node.Accepted)
	}
	return moved.Document
}

// Move gives an order about a bill and returns at once; a refusal fails the test.
func (p *Platform) Move(by *User, document envelope.Hash, in envelope.Instruction, to string) node.Moved {
	p.t.Helper()
	o := node.MoveOrder{Instruction: in}
	if to != "" {
		o.To = Quote(to)
	}
	moved, err := p.Node().Move(context.Background(), by.User, document, o)
	if err != nil {
		p.t.Fatalf("%s of %s to %s by %s: %v", in, document, to, by.ID, err)
	}
	return moved
}

// Transfer moves a bill and returns once that is settled as accepted.
func (p *Platform) Transfer(by *User, document envelope.Hash, to string) {
	p.t.Helper()
	if moved := p.Move(by, document, envelope.Transfer, to); moved.Transfer != "" {
		p.Settled(moved.Transfer, node.Accepted)
	}
}

// Patience is how long a test waits for what must come. A machine that others use may stand
// still for seconds, and who waits for what does come waits no longer for it.
const Patience = time.Minute

// Settled waits for a transfer to be settled, no longer than [Patience], and fails the test if
// it is then not in the state want.
func (p *Platform) Settled(id string, want node.TransferState) *node.TransferView {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	v, err := p.Node().Await(ctx, auditor, id)
	if err != nil {
		p.t.Fatalf("waiting for transfer %s: %v", id, err)
	}
	if v.State != want {
		p.t.Fatalf("transfer %s at %s: got %s (last answer %q), want %s", id, p.Domain(), v.State, v.LastAnswer, want)
	}
	return v
}

// View is the bill as an auditor of p sees it; the test fails if p does not know it.
func (p *Platform) View(document envelope.Hash) *node.BillView {
	p.t.Helper()
	v, err := p.Node().Bill(context.Background(), auditor, document)
	if err != nil {
		p.t.Fatalf("bill %s at %s: %v", document, p.Domain(), err)
	}
	return v
}

// Block is the transferblock of a bill that has left p at least once.
func (p *Platform) Block(document envelope.Hash) []byte {
	p.t.Helper()
	b, err := p.Node().Block(context.Background(), auditor, document)
	if err != nil {
		p.t.Fatalf("chain of %s at %s: %v", document, p.Domain(), err)
	}
	return b
}

// Put offers body to the platform as from would: inside the process, or over the
// network with from's certificate. What comes back is not verified.
func (p *Platform) Put(from *Platform, body []byte) (node.Reply, error) {
	p.t.Helper()
	peer, err := from.Dial(p)
	if err != nil {
		return node.Reply{}, err
	}
	return peer.PutTransferblock(context.Background(), node.Request{Sender: from.Domain(), Body: body})
}

// Dial is the platform to as p reaches it.
func (p *Platform) Dial(to *Platform) (node.Peer, error) {
	cfg := p.Config()
	at, err := cfg.Resolve(context.Background(), to.Entry)
	if err != nil {
		return nil, err
	}
	return cfg.Dial(to.Entry, at)
}

// A Tx is a transaction for [Platform.Seal]. The zero At is now, and the zero Platform
// the one that seals.
type Tx struct {
	Instruction envelope.Instruction
	To          string // localid@domain
	At          time.Time
	Platform    identity.Host
	NotToOrder  bool
	Comments    string
}

// Seal signs transactions into an envelope with p's key, whatever p's node thinks of
// them: this is how a test plays a dishonest or mistaken platform. previous is the
// zero Hash for the first entry.
func (p *Platform) Seal(document, previous envelope.Hash, txs ...Tx) envelope.Entry {
	p.t.Helper()
	var texts [][]byte
	for _, tx := range txs {
		if tx.At.IsZero() {
			tx.At = time.Now()
		}
		if tx.Platform.IsZero() {
			tx.Platform = p.Domain()
		}
		text, err := envelope.NewTransaction(envelope.Transaction{Instruction: tx.Instruction, Comments: tx.Comments, At: tx.At,
			ToOrder: !tx.NotToOrder, PlatformHost: tx.Platform}, Quote(tx.To))
		if err != nil {
			p.t.Fatal(err)
		}
		texts = append(texts, text)
	}
	e, err := envelope.Seal(document, previous, texts, p.Signer)
	if err != nil {
		p.t.Fatal(err)
	}
	return e
}

// Offer is a transferblock with a new document, issued by p to the identifier to, which
// no node knows yet: one envelope, well formed and true.
func (p *Platform) Offer(to string) (body []byte, document envelope.Hash) {
	p.t.Helper()
	doc := p.Document()
	document = envelope.HashOf(doc)
	return Body(doc, p.Seal(document, envelope.Hash{}, Tx{Instruction: envelope.Issue, To: to})), document
}

// OfferOf is an Offer whose chain has so many entries: it went from desk to desk before.
func (p *Platform) OfferOf(to string, entries int) (body []byte) {
	p.t.Helper()
	doc := p.Document()
	hash := envelope.HashOf(doc)
	var chain []envelope.Entry
	var previous envelope.Hash
	for i := range entries {
		tx := Tx{Instruction: envelope.Transfer, To: fmt.Sprintf("desk%d@%s", i, p.Domain())}
		if i == 0 {
			tx.Instruction = envelope.Issue
		}
		if i == entries-1 {
			tx.To = to
		}
		e := p.Seal(hash, previous, tx)
		chain, previous = append(chain, e), e.Claimed
	}
	return Body(doc, chain...)
}

// Body puts a document and a chain together as they are sent.
func Body(document []byte, chain ...envelope.Entry) []byte {
	return (&envelope.Transferblock{Document: document, Entries: chain}).Marshal(false)
}
