package node

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/identity"
)

// An IssueOrder asks to issue a bill.
type IssueOrder struct {
	// Document is the transport document, a JSON object. It is stored and sent in
	// RFC 8785 form, since the receivers of 2022 hash the text as it comes.
	Document []byte
	// To is the first party in control: a JSON string localid@domain or a Party.
	To       []byte
	ToOrder  *bool // needed where the document does not say isToOrder
	Comments string
	Once     Once
}

// A MoveOrder asks to move control of a bill.
type MoveOrder struct {
	Instruction envelope.Instruction // TRNS, SURR, AMND or SW2P
	// To is the transferee. For a return it may be empty on the issuing platform, and
	// elsewhere names the issuer there.
	To       []byte
	Comments string
	Once     Once
}

// A Moved says what an order did.
type Moved struct {
	Document envelope.Hash
	// Transfer is the transfer that carries the bill to another platform; "" where
	// the step was inside this one and is done.
	Transfer string
	State    TransferState
	// Verdict is the carrier's, where the order was to honour a return.
	Verdict string
	// ReplacedBy is the bill issued in the place of an amended one; else zero.
	ReplacedBy envelope.Hash
	// Repeated says that the order had been carried out before, under the same key.
	Repeated bool
	// Approval is set where nothing was done yet: the order waits for a second person.
	Approval *Approval
}

// Issue issues a bill and gives it to its first party. Where that one is on another
// platform the bill is issued to the issuer and transferred from there, so that somebody
// is in control at each moment.
func (n *Node) Issue(ctx context.Context, user *User, o IssueOrder) (Moved, error) {
	if user.Role != IssuerRole {
		return Moved{}, refuse(Forbidden, TextForbidden, "only a user with the role issuer issues bills")
	}
	if before, err := n.doneBefore(ctx, user, o.Once); before != nil || err != nil {
		return again(before, err)
	}
	to, err := n.party(o.To)
	if err != nil {
		return Moved{}, err
	}
	draft, err := n.draft(o)
	if err != nil {
		return Moved{}, err
	}
	if waits, err := n.waits(ctx, user, o.Once); err != nil {
		return Moved{}, err
	} else if waits {
		return n.ask(ctx, user, kindIssue, draft.state.Document, nil, askedOrder{Document: o.Document, To: o.To, ToOrder: o.ToOrder, Comments: o.Comments}, o.Once)
	}
	remote := !n.isSelf(to.ID.Host)
	first := o.To
	var peer *identity.Platform
	if remote {
		if peer, err = n.ready(ctx, to); err != nil {
			return Moved{}, err
		}
		first = quote(n.identifier(user.Local).String())
	}
	done, err := n.once(ctx, user, o.Once, func(t *tx) (Moved, error) {
		if err := n.issueIn(t, user, draft, first, o.Comments); err != nil || !remote {
			return Moved{Document: draft.state.Document}, err
		}
		return n.prepared(t, user, draft.state.Document, MoveOrder{Instruction: envelope.Transfer, To: o.To, Comments: o.Comments}, peer)
	})
	if err == nil && remote {
		n.send(done, peer)
	}
	return done, err
}

// draft checks a document and gives the bill that would be issued.
func (n *Node) draft(o IssueOrder) (*bill, error) {
	doc, err := envelope.Canonicalize(o.Document)
	if err != nil {
		return nil, AsError(err)
	}
	// The block parser reads the document once more, as every receiver will.
	ref, toOrder, err := envelope.InspectDocument(doc)
	if err != nil {
		return nil, AsError(err)
	}
	switch {
	case toOrder == nil && o.ToOrder == nil:
		return nil, refuse(Malformed, "malformed", "the document does not say isToOrder, so the order must")
	case toOrder != nil && o.ToOrder != nil && *toOrder != *o.ToOrder:
		return nil, refuse(Malformed, "malformed", "isToOrder is %t in the document", *toOrder)
	case toOrder == nil:
		toOrder = o.ToOrder
	}
	if !n.Self().MayIssueFor(ref.CarrierCode) {
		return nil, refuse(Forbidden, string(chain.NotAnIssuer), "this platform may not issue bills of carrier %q", ref.CarrierCode)
	}
	if limit := n.cfg.Limits.BodyLimit(); len(doc) > limit/2 {
		return nil, refuse(TooLarge, "tooLarge", "the document has %d bytes; peers take blocks of %d", len(doc), limit)
	}
	b := &bill{document: doc, reference: ref, control: Held}
	b.state.Document = envelope.HashOf(doc)
	b.state.ToOrder = *toOrder
	return b, nil
}

func (n *Node) issueIn(t *tx, user *User, b *bill, to []byte, comments string) error {
	if why, err := n.quarantine(t.ctx, t, b.state.Document); err != nil {
		return err
	} else if why != "" {
		return lockedInQuarantine(why)
	}
	known, err := loadBill(t.ctx, t, b.state.Document)
	if err != nil {
		return err
	}
	if known != nil {
		return refuse(Conflict, TextAlreadyIssued, "this very document was issued already")
	}
	taken, err := otherLive(t.ctx, t, b.reference, b.state.Document)
	if err != nil {
		return err
	}
	if taken {
		return refuse(Conflict, TextReferenceInUse, "a live bill has this carrier's reference %q already", b.reference.Number)
	}
	wire, tx, err := n.newTransaction(t, nil, b, envelope.Issue, to, comments)
	if err != nil {
		return err
	}
	next, err := n.apply(t, b, wire)
	if err != nil {
		return err
	}
	next.Issuer = n.identifier(user.Local)
	b.state = next
	if err := t.insertBill(b, n.Domain()); err != nil {
		return err
	}
	jws, err := n.addStep(t, b, nil, tx, wire.At)
	if err != nil {
		return err
	}
	if err := t.witness(record{kind: recordIssue, document: b.state.Document, head: b.state.Head, jws: jws,
		data: issueData{Document: string(b.document), Issuer: user.Local}}); err != nil {
		return err
	}
	for _, local := range []string{user.Local, next.Possessor.Local} {
		if err := t.addParty(b.id, local); err != nil {
			return err
		}
	}
	t.event(BillIssued, b.id, "", EventDetail{})
	return t.audit(user.Local, "bill.issue", b.state.Document, "to "+next.Possessor.Local)
}

// newTransaction writes the transaction of an order. Its time is ours, but never before
// what it follows.
func (n *Node) newTransaction(t *tx, steps []step, b *bill, in envelope.Instruction, to []byte, comments string) (envelope.Transaction, []byte, error) {
	at := t.now
	if len(steps) > 0 {
		if last := fromMillis(steps[len(steps)-1].at); last.After(at) {
			at = last
		}
	}
	if b.id != 0 {
		var highest sql64
		if err := t.QueryRowContext(t.ctx, "SELECT max(signed_at) FROM entries WHERE id >= ? AND id < ?",
			b.id*maxEntries, (b.id+1)*maxEntries).Scan(&highest); err != nil {
			return envelope.Transaction{}, nil, err
		}
		if floor := fromMillis(int64(highest)).Add(-envelope.ClockSkew + time.Second); floor.After(at) {
			at = floor
		}
		refused, err := t.lastRejected(b)
		if err != nil {
			return envelope.Transaction{}, nil, err
		}
		if at.UnixMilli() <= refused.UnixMilli() {
			at = refused.Add(time.Millisecond)
		}
	}
	text, err := envelope.NewTransaction(envelope.Transaction{
		Instruction: in, Comments: comments, At: at, ToOrder: b.state.ToOrder, PlatformHost: n.Domain(),
	}, to)
	if err != nil {
		return envelope.Transaction{}, nil, AsError(err)
	}
	wire, err := envelope.ParseTransaction(text)
	return wire, text, err
}

// sql64 scans a number that may be NULL, as 0.
type sql64 int64

func (s *sql64) Scan(v any) error {
	if i, ok := v.(int64); ok {
		*s = sql64(i)
	}
	return nil
}

// apply is the law, with the local rules beside it: who gets a bill here must be able
// to hold one.
func (n *Node) apply(t *tx, b *bill, wire envelope.Transaction) (chain.State, error) {
	next, err := b.state.Apply(chain.LawOf(wire, n.Trust()))
	if err != nil {
		law, _ := errors.AsType[*chain.LawError](err)
		return next, refuse(Conflict, "unlawful/"+string(law.Law), "%s", law.Detail)
	}
	if !n.isSelf(wire.Transferee.ID.Host) {
		return next, nil
	}
	u, err := loadUser(t.ctx, t, wire.Transferee.ID.Local)
	if err != nil {
		return next, err
	}
	if u == nil || u.Disabled || !u.holds() || !u.accepts(wire.Transferee, false) {
		return next, refuse(NotPossible, TextTransferee, "%s is not a user here to whom a bill can be given", wire.Transferee.ID)
	}
	return next, nil
}

// addStep signs and stores a step, and returns its JWS.
func (n *Node) addStep(t *tx, b *bill, steps []step, text []byte, at time.Time) (string, error) {
	seq, err := t.nextSeq(b.id)
	if err != nil {
		return "", err
	}
	st := envelope.Step{DocumentHash: b.state.Document, Head: b.state.Head, Index: len(steps), Transaction: text}
	if t.act != nil {
		st.By = envelope.StepBy(*t.act)
	}
	if len(steps) > 0 {
		st.Previous = envelope.HashOf([]byte(steps[len(steps)-1].jws))
	}
	// A step counts for the time of its transaction, which may be a little ahead of now.
	signer, err := n.signer(at)
	if err != nil {
		return "", err
	}
	jws, err := envelope.SignStep(st, signer, t.now)
	if err != nil {
		return "", err
	}
	return jws, t.insertStep(b.id, step{seq: seq, jws: jws, tx: string(text), at: millis(at)})
}

// Move transfers, endorses or returns a bill that user controls: inside the platform at
// once, to another platform by a transfer that is then in the outbox.
func (n *Node) Move(ctx context.Context, user *User, document envelope.Hash, o MoveOrder) (Moved, error) {
	if before, err := n.doneBefore(ctx, user, o.Once); before != nil || err != nil {
		return again(before, err)
	}
	b, err := n.controlled(ctx, n.store.read, user, document)
	if err != nil {
		// The same order, at the same time, may be the very reason.
		if before, beforeErr := n.doneBefore(ctx, user, o.Once); before != nil && beforeErr == nil {
			return *before, nil
		}
		return Moved{}, err
	}
	if len(o.To) == 0 && o.Instruction != envelope.Transfer {
		if b.state.Issuer.IsZero() {
			return Moved{}, refuse(Malformed, "malformed", "name the issuer: its identifier at %s", b.state.Issuing)
		}
		o.To = quote(b.state.Issuer.String())
	}
	to, err := n.party(o.To)
	if err != nil {
		return Moved{}, err
	}
	if waits, err := n.waits(ctx, user, o.Once); err != nil {
		return Moved{}, err
	} else if waits {
		return n.ask(ctx, user, kindMove, document, b, askedOrder{Instruction: o.Instruction, To: o.To, Comments: o.Comments}, o.Once)
	}
	if n.isSelf(to.ID.Host) {
		return n.once(ctx, user, o.Once, func(t *tx) (Moved, error) {
			return Moved{Document: document, State: Accepted}, n.moveIn(t, user, document, o)
		})
	}
	peer, err := n.ready(ctx, to)
	if err != nil {
		return Moved{}, err
	}
	done, err := n.once(ctx, user, o.Once, func(t *tx) (Moved, error) { return n.prepared(t, user, document, o, peer) })
	if err == nil {
		n.send(done, peer)
	}
	return done, err
}

func (n *Node) prepared(t *tx, user *User, document envelope.Hash, o MoveOrder, peer *identity.Platform) (Moved, error) {
	x, err := n.prepare(t, user, document, o, peer)
	if err != nil {
		return Moved{}, err
	}
	return Moved{Document: document, Transfer: x.id, State: Prepared}, nil
}

// controlled loads a bill and checks that user may act on it now.
func (n *Node) controlled(ctx context.Context, q querier, user *User, document envelope.Hash) (*bill, error) {
	b, err := loadBill(ctx, q, document)
	if err != nil {
		return nil, busy(err)
	}
	if b == nil {
		return nil, noBill()
	}
	sees, err := n.sees(ctx, q, user, b)
	if err != nil {
		return nil, busy(err)
	}
	why, err := n.quarantine(ctx, q, document)
	if err != nil {
		return nil, busy(err)
	}
	switch {
	case !sees:
		return nil, noBill()
	case !user.holds():
		return nil, refuse(Forbidden, TextForbidden, "the role %s moves no bills", user.Role)
	case why != "":
		return nil, lockedInQuarantine(why)
	case b.control == Locked:
		return nil, refuse(Conflict, TextLocked, "a transfer of this bill is under way; see its state")
	case b.control == Disputed:
		return nil, refuse(Conflict, TextLocked, "this bill is disputed; two operators must resolve it")
	case b.control == Voided:
		return nil, refuse(Conflict, "unlawful/"+string(chain.BillVoid), "the bill is void; nothing follows")
	case b.state.Possessor != n.identifier(user.Local):
		return nil, refuse(Conflict, "unlawful/"+string(chain.NotInControl), "you are not in control of this bill")
	}
	return b, nil
}

func noBill() *Error {
	return refuse(NotFound, "notFound", "there is no such bill among those you may see")
}

func (n *Node) moveIn(t *tx, user *User, document envelope.Hash, o MoveOrder) error {
	b, err := n.controlled(t.ctx, t, user, document)
	if err != nil {
		return err
	}
	steps, err := loadSteps(t.ctx, t, b.id)
	if err != nil {
		return err
	}
	// One more must fit into the entry by which the bill leaves: peers refuse a longer one
	// without a signature, and the bill would stay locked.
	if most := n.cfg.Limits.TransactionsLimit() - 1; len(steps) >= most {
		return refuse(TooLarge, "tooLarge", "the bill has moved %d times inside this platform; it must leave before it moves again", most)
	}
	wire, text, err := n.newTransaction(t, steps, b, o.Instruction, o.To, o.Comments)
	if err != nil {
		return err
	}
	next, err := n.apply(t, b, wire)
	if err != nil {
		return err
	}
	jws, err := n.addStep(t, b, steps, text, wire.At)
	if err != nil {
		return err
	}
	b.state = next
	if err := t.saveBill(b, n.Domain()); err != nil {
		return err
	}
	if err := t.witness(record{kind: recordStep, document: document, head: b.state.Head, jws: jws}); err != nil {
		return err
	}
	if err := t.addParty(b.id, next.Possessor.Local); err != nil {
		return err
	}
	t.event(BillMoved, b.id, "", EventDetail{Instruction: o.Instruction})
	return t.audit(user.Local, "bill.move", document, string(o.Instruction)+" to "+next.Possessor.Local)
}

// maxParty is the longest transferee of an order, in bytes. It travels with the bill for
// ever, and a few long ones would fill what peers take of it.
const maxParty = 16 << 10

// party reads the transferee of an order.
func (n *Node) party(to []byte) (identity.Party, error) {
	if len(to) > maxParty {
		return identity.Party{}, refuse(TooLarge, "tooLarge", "the transferee has %d bytes, more than %d", len(to), maxParty)
	}
	p, err := envelope.ParseTransferee(to)
	if err == nil {
		// In an envelope it stands three levels down. A step that cannot be sealed would
		// keep the bill here for ever.
		_, err = envelope.Canonicalize(slices.Concat([]byte("[[["), to, []byte("]]]")))
	}
	if err != nil {
		e := AsError(err)
		e.Detail = "the transferee: " + e.Detail
		return p, e
	}
	if p.ID.Host != n.Domain() && n.isSelf(p.ID.Host) {
		// A peer whose copy of our entry lacks the other name would refuse the chain.
		return p, refuse(Malformed, "malformed", "the transferee: name our own users by our domain, as %s", n.identifier(p.ID.Local))
	}
	return p, nil
}

func (n *Node) identifier(local string) identity.Identifier {
	return identity.Identifier{Local: local, Host: n.Domain()}
}

func quote(s string) []byte {
	b, _ := json.Marshal(s) // an identifier: always a plain string
	return b
}

// orBusy keeps a refusal, and makes the "try again" of anything else.
func orBusy(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if f, ok := errors.AsType[*envelope.FormatError](err); ok {
		return formatRefusal(f)
	}
	return busy(err)
}
