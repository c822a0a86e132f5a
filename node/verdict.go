package node

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"eblnode/envelope"
	"eblnode/identity"

	"golang.org/x/sync/errgroup"
)

// Verdict is the Peer's: the carrier's verdict on a bill, for the platforms that had a
// part in its chain (wire document, section 8).
func (n *Node) Verdict(ctx context.Context, sender identity.Host, document envelope.Hash) (string, error) {
	if _, err := n.peer(sender); err != nil {
		return "", err
	}
	b, err := loadBill(ctx, n.store.read, document)
	if err != nil {
		return "", busy(err)
	}
	if b == nil {
		return "", refuse(NotFound, "notFound", "there is no verdict on this bill here")
	}
	rows, err := loadEntries(ctx, n.store.read, b.id)
	if err != nil {
		return "", busy(err)
	}
	part := false
	for _, r := range rows {
		part = part || r.signer == sender.String()
	}
	if !part {
		return "", refuse(Forbidden, TextForbidden, "%s has no part in this bill's chain", sender)
	}
	var jws string
	err = n.store.read.QueryRowContext(ctx, "SELECT verdict FROM verdicts WHERE bill = ?", b.id).Scan(&jws)
	if errors.Is(err, sql.ErrNoRows) {
		return "", refuse(NotFound, "notFound", "there is no verdict on this bill yet")
	}
	if err == nil {
		err = n.store.settled(ctx)
	}
	if err != nil {
		return "", busy(err)
	}
	return jws, nil
}

// pollVerdicts asks the issuing platforms of the bills that our users returned.
func (n *Node) pollVerdicts(ctx context.Context, group *errgroup.Group, now time.Time, perPeer map[identity.Host]int) error {
	rows, err := n.store.read.QueryContext(ctx, `SELECT bill, attempts, issuing FROM
	  (SELECT bill, attempts, issuing, next_at, row_number() OVER (PARTITION BY issuing ORDER BY next_at) AS place
	    FROM verdict_polls JOIN bills ON bills.id = bill WHERE next_at <= ? OR next_at > ?)
	  WHERE place <= ? ORDER BY next_at LIMIT 1000`, millis(now), millis(n.latest(now)), 2*peerWidth)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var bill int64
		var attempts int
		var issuing string
		if err := rows.Scan(&bill, &attempts, &issuing); err != nil {
			return err
		}
		peer, err := identity.ParseHost(issuing)
		if err != nil {
			return err
		}
		if perPeer[peer] >= min(freshWidth, n.circuits.width(peer, now)) {
			continue // transfers come first
		}
		id := fmt.Sprintf("verdict/%d", bill)
		if _, running := n.busy.LoadOrStore(id, peer); running {
			continue
		}
		perPeer[peer]++
		if !group.TryGo(func() error {
			defer n.busy.Delete(id)
			n.pollVerdict(ctx, bill, attempts)
			return nil
		}) {
			n.busy.Delete(id)
			break
		}
	}
	return rows.Err()
}

func (n *Node) pollVerdict(ctx context.Context, id int64, attempts int) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := n.fetchVerdict(ctx, id)
	if err == nil {
		return
	}
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != NotFound {
		n.log.WarnContext(ctx, "asking for a verdict failed", "bill", id, "err", err)
	}
	next := n.cfg.Now().Add(n.pause(attempts))
	err = n.store.update(context.WithoutCancel(ctx), func(t *tx) error {
		return t.exec("UPDATE verdict_polls SET attempts = attempts + 1, next_at = ? WHERE bill = ?", millis(next), id)
	})
	if err != nil {
		n.log.ErrorContext(ctx, "recording a question failed", "bill", id, "err", err)
	}
}

func (n *Node) fetchVerdict(ctx context.Context, id int64) error {
	b, err := loadBillByID(ctx, n.store.read, id)
	if err != nil {
		return err
	}
	p, found := n.Trust().Find(b.state.Issuing)
	if !found {
		return fmt.Errorf("there is no trust entry for %s", b.state.Issuing)
	}
	peer, _, err := n.reach(ctx, p)
	if err != nil {
		return err
	}
	began := n.cfg.Now()
	jws, err := peer.Verdict(ctx, n.Domain(), b.state.Document)
	n.note(ctx, p.Domain, began, err)
	if err != nil {
		return err
	}
	return n.TakeVerdict(ctx, n.Domain().String(), jws)
}

// TakeVerdict stores a verdict that the carrier signed, however it came here, and with it
// the bill is void. Nothing but the issuing platform's signature counts.
func (n *Node) TakeVerdict(ctx context.Context, actor, jws string) error {
	document, err := envelope.VerdictSubject(jws)
	if err != nil {
		return AsError(err)
	}
	ev, err := n.verdictStands(ctx, document, jws)
	if err != nil {
		return err
	}
	err = n.store.update(ctx, func(t *tx) error {
		b, err := loadBill(t.ctx, t, document)
		if err != nil {
			return err
		}
		if b == nil {
			return refuse(NotFound, "notFound", "the bill of this verdict is not known here")
		}
		// The same verdict again, by another way: it is known, and that is all.
		var held string
		err = t.QueryRowContext(t.ctx, "SELECT verdict FROM verdicts WHERE bill = ?", b.id).Scan(&held)
		if err == nil && held == jws {
			return nil
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		kind, err := n.conclude(t, b, jws, ev)
		if err != nil {
			return err
		}
		return t.audit(actor, "verdict.take", b.state.Document, string(kind))
	})
	if err != nil {
		return orBusy(err)
	}
	return nil
}

// verdictStands asks about the key behind a verdict, before the transaction that believes it.
// What else is wrong with it is left for that. One that claims to be older than the return that
// it answers may have been dated back by whoever has a key of before: its own time counts for
// nothing then, as with [Node.answerStands], and the key must stand now.
func (n *Node) verdictStands(ctx context.Context, document envelope.Hash, jws string) (*identity.Evidence, error) {
	b, err := loadBill(ctx, n.store.read, document)
	if err != nil {
		return nil, busy(err)
	}
	if b == nil {
		return nil, nil
	}
	p, found := n.Trust().Find(b.state.Issuing)
	if !found {
		return nil, nil
	}
	now := n.cfg.Now()
	v, err := envelope.OpenVerdict(jws, p, now)
	if err != nil {
		return nil, nil
	}
	j, err := envelope.ParseJWS(strings.TrimSpace(jws))
	if err != nil {
		return nil, AsError(err)
	}
	at, returned := v.At, time.Time{}
	if last := b.state.Length - 1; last >= 0 { // else it never left the platform, and its own step returned it
		r, _, err := loadEntry(ctx, n.store.read, b.id, last)
		if err != nil {
			return nil, busy(err)
		}
		returned = fromMillis(r.signedAt)
	}
	if at.Before(returned.Add(-envelope.ClockSkew)) {
		at = now
		if _, err := j.VerifyKnown(p, now, envelope.Known{}); err != nil {
			return nil, refuse(NotPossible, "verdictNotBelieved", "it is dated %s, and the return that it answers %s: %s", v.At.UTC().Format(time.RFC3339), returned.UTC().Format(time.RFC3339), err)
		}
	}
	if !asksOf(p) {
		return nil, nil
	}
	ev, err := n.stands(ctx, p, j, at)
	if serr, ok := errors.AsType[*envelope.SignatureError](err); ok && serr.Reason == envelope.RevocationUnknown {
		e := refuse(Unavailable, TextUnavailable, "%s", serr.Detail)
		e.Retry, e.Err = revocationRetry, err
		return nil, e
	}
	if err != nil {
		return nil, refuse(NotPossible, "verdictNotBelieved", "%s", err)
	}
	return ev, nil
}

// conclude makes b void by the verdict of its issuing platform; ev is what it was believed
// by, nil if the key alone.
func (n *Node) conclude(t *tx, b *bill, jws string, ev *identity.Evidence) (envelope.VerdictKind, error) {
	p, found := n.Trust().Find(b.state.Issuing)
	if !found {
		return "", refuse(NotPossible, TextNotTrusted, "there is no trust entry for %s", b.state.Issuing)
	}
	v, err := envelope.OpenVerdict(jws, p, t.now)
	if err != nil {
		return "", refuse(NotPossible, "verdictNotBelieved", "%s", err)
	}
	next, err := b.state.Conclude(v)
	if err != nil {
		return "", refuse(NotPossible, "verdictNotBelieved", "%s", err)
	}
	b.state, b.control = next, Voided
	if err := t.saveBill(b, n.Domain()); err != nil {
		return "", err
	}
	if err := t.exec("INSERT INTO verdicts (bill, verdict, at) VALUES (?, ?, ?)", b.id, jws, millis(t.now)); err != nil {
		return "", err
	}
	if err := t.exec("DELETE FROM verdict_polls WHERE bill = ?", b.id); err != nil {
		return "", err
	}
	if err := t.insertEvidence(b.id, jws, ev); err != nil {
		return "", err
	}
	t.event(BillVoid, b.id, "", voidDetail(v))
	r := record{kind: recordVerdict, document: b.state.Document, head: b.state.Head, peer: b.state.Issuing.String(), jws: jws}
	if ev != nil {
		r.data = verdictData{ev}
	}
	return v.Kind, t.witness(r)
}
