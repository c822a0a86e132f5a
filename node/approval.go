package node

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"eblnode/envelope"
)

// Four eyes. An order that moves control, of a user that has approvers, is checked and then
// waits on the disk for one of them: another user, with a token of its own. It is carried
// out in the transaction that says so, once, exactly as it was asked, and only while the
// bill is as it was then.

// An Approval is an order that waits for a second person, or did.
type Approval struct {
	ID       string
	User     string // whose order it is
	Kind     string // issue, honour, decline, or the instruction of a move
	Document envelope.Hash
	// Request is the hash of the whole order: who approves names it, so that what is
	// approved is what was looked at.
	Request   envelope.Hash
	To        json.RawMessage // the transferee as ordered; nil where there is none
	Comments  string
	Order     json.RawMessage // the whole order; nil in lists
	Act       *Act            // who gave it in the user's name; nil: the user itself
	State     ApprovalState
	AskedAt   time.Time
	ExpiresAt time.Time
	DecidedBy string    // "" while pending, and where it expired
	DecidedAt time.Time // zero while pending
	Reason    string    // of a rejection
	Transfer  string    // what came of an approved one
	Verdict   string
	// Repeated says that the same was asked, or decided, before.
	Repeated bool
}

// An ApprovalState is where an approval is.
type ApprovalState string

// The states. All but pending are final.
const (
	ApprovalPending  ApprovalState = "pending"
	ApprovalApproved ApprovalState = "approved"
	ApprovalRejected ApprovalState = "rejected"
	ApprovalExpired  ApprovalState = "expired"
)

const (
	// approvalAge is how long an order waits unless Config says otherwise.
	approvalAge = 24 * time.Hour
	// maxPending is how many orders of one user wait at once.
	maxPending = 100
)

// An askedOrder is the stored form of an order that waits.
type askedOrder struct {
	Instruction envelope.Instruction `json:"instruction,omitempty"`
	Document    json.RawMessage      `json:"document,omitempty"` // issue, and the replacement of honour
	To          json.RawMessage      `json:"to,omitempty"`
	ToOrder     *bool                `json:"isToOrder,omitempty"`
	Comments    string               `json:"comments,omitempty"`
}

// SetApprovers turns four eyes on for a user: from now on its orders wait for one of these
// other users. None turns it off; orders that wait go on waiting.
func (n *Node) SetApprovers(ctx context.Context, actor, local string, approvers []string) error {
	return orNil(n.store.update(ctx, func(t *tx) error {
		u, err := loadUser(t.ctx, t, local)
		switch {
		case err != nil:
			return err
		case u == nil:
			return refuse(NotFound, TextUnknownUser, "there is no user %s", clip(local))
		case !u.holds():
			return refuse(Malformed, "malformed", "the role %s moves no bills, so nothing of it is to be approved", u.Role)
		}
		if err := t.exec("DELETE FROM approvers WHERE local_id = ?", local); err != nil {
			return err
		}
		for _, a := range approvers {
			u, err := loadUser(t.ctx, t, a)
			switch {
			case err != nil:
				return err
			case u == nil:
				return refuse(NotFound, TextUnknownUser, "there is no user %s", clip(a))
			case a == local:
				return refuse(Malformed, "malformed", "nobody is its own second person")
			}
			if err := t.exec("INSERT INTO approvers (local_id, approver) VALUES (?, ?) ON CONFLICT DO NOTHING", local, a); err != nil {
				return err
			}
		}
		list := slices.Clone(approvers)
		slices.Sort(list)
		return t.audit(actor, "user.approvers", envelope.Hash{}, local+" "+strings.Join(slices.Compact(list), ","))
	}))
}

// approversOf lists who may approve for a user; none: its orders wait for nobody.
func approversOf(ctx context.Context, q querier, local string) (list []string, err error) {
	err = each(ctx, q, "SELECT approver FROM approvers WHERE local_id = ? ORDER BY approver", []any{local}, func(scan func(...any) error) error {
		var a string
		err := scan(&a)
		list = append(list, a)
		return err
	})
	return list, err
}

// An approving is the second person's yes, inside an order that is carried out by it.
type approving struct {
	id  string
	by  string
	act *Act // by which system the order was given; nil: by the user itself
	// once is the key of the yes itself.
	once Once
}

// waits reports whether an order of user must wait: it has approvers, and this is not the
// carrying out of what one of them approved.
func (n *Node) waits(ctx context.Context, user *User, o Once) (bool, error) {
	if o.approving != nil {
		return false, nil
	}
	list, err := approversOf(ctx, n.store.read, user.Local)
	if err != nil {
		return false, busy(err)
	}
	return len(list) > 0, nil
}

// ask stores an order that was found good, to wait for a second person. b is its bill, nil
// where it is to be issued. The same order asked again is the same approval.
func (n *Node) ask(ctx context.Context, user *User, kind string, document envelope.Hash, b *bill, o askedOrder, once Once) (Moved, error) {
	content, err := json.Marshal(o)
	if err != nil {
		return Moved{}, AsError(fmt.Errorf("storing an order: %w", err))
	}
	version := int64(0)
	if b != nil {
		version = b.version
	}
	act := []byte("null")
	if user.Via != nil {
		if act, err = json.Marshal(user.Via); err != nil {
			return Moved{}, AsError(err)
		}
	}
	sum := orderSum(user.Local, kind, document, content)
	var a *Approval
	err = n.store.update(ctx, func(t *tx) error {
		t.act = user.Via
		if a, err = t.asked(user.Local, sum, once); err != nil || a != nil {
			return err
		}
		var pending int
		if err := t.QueryRowContext(t.ctx, "SELECT count(*) FROM approvals WHERE user = ? AND state = 'pending'", user.Local).Scan(&pending); err != nil {
			return err
		}
		if pending >= maxPending {
			return refuse(Conflict, TextApprovalsFull, "%d of your orders wait for a second person; have some of them decided first", pending)
		}
		id, expires := newID(), millis(t.now.Add(n.cfg.ApprovalAge))
		if err := t.exec(`INSERT INTO approvals (id, user, kind, document_hash, version, content, request_sum, key, key_sum, act, state, asked_at, expires_at)
		  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?)`, id, user.Local, kind, document[:], version, string(content), sum[:], once.Key, once.Request[:], string(act),
			millis(t.now), expires); err != nil {
			return err
		}
		if a, err = loadApproval(t.ctx, t, id); err != nil {
			return err
		}
		return t.audit(user.Local, "approval.ask", envelope.Hash{}, fmt.Sprintf("%s %s of %s order %s version %d until %d", id, a.Kind, document, sum, version, expires))
	})
	if err != nil {
		return Moved{}, orBusy(err)
	}
	return Moved{Document: document, Approval: a, Repeated: a.Repeated}, nil
}

// orderSum names an order that waits: who approves it has seen this one.
func orderSum(user, kind string, document envelope.Hash, content []byte) envelope.Hash {
	return envelope.HashOf(fmt.Appendf(nil, "%s\n%s\n%s\n%s", user, kind, document, content))
}

// asked is the approval that the same order is already: under its key, or word for word
// while that one waits. What has waited too long is over first.
func (t *tx) asked(user string, sum envelope.Hash, once Once) (*Approval, error) {
	if err := t.exec("UPDATE approvals SET state = 'expired', decided_at = expires_at WHERE user = ? AND state = 'pending' AND expires_at <= ?", user, millis(t.now)); err != nil {
		return nil, err
	}
	query, arg := "SELECT id, key_sum FROM approvals WHERE user = ? AND request_sum = ? AND state = 'pending'", any(sum[:])
	if once.Key != "" {
		query, arg = "SELECT id, key_sum FROM approvals WHERE user = ? AND key = ?", once.Key
	}
	var id string
	var keySum envelope.Hash
	err := t.QueryRowContext(t.ctx, query, user, arg).Scan(&id, sqlHash{&keySum})
	if errors.Is(err, sql.ErrNoRows) && once.Key != "" {
		// Another key does not make it another order while the first one waits.
		return t.asked(user, sum, Once{})
	}
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if once.Key != "" && keySum != once.Request {
		return nil, refuse(Conflict, TextKeyReused, "this Idempotency-Key was used for another order; use a new one for each")
	}
	a, err := loadApproval(t.ctx, t, id)
	if a != nil {
		a.Repeated = true
	}
	return a, err
}

const approvalColumns = `id, user, kind, document_hash, content, request_sum, act, state, asked_at, expires_at, coalesce(decided_by, ''), decided_at, reason, outcome`

func scanApproval(row interface{ Scan(...any) error }) (*Approval, error) {
	a := &Approval{}
	var content, act, out string
	var asked, expires int64
	var decided sql.NullInt64
	if err := row.Scan(&a.ID, &a.User, &a.Kind, sqlHash{&a.Document}, &content, sqlHash{&a.Request}, &act, &a.State, &asked, &expires, &a.DecidedBy, &decided, &a.Reason, &out); err != nil {
		return nil, err
	}
	a.AskedAt, a.ExpiresAt, a.Order = fromMillis(asked), fromMillis(expires), json.RawMessage(content)
	if decided.Valid {
		a.DecidedAt = fromMillis(decided.Int64)
	}
	var o askedOrder
	if err := json.Unmarshal([]byte(content), &o); err != nil {
		return nil, err
	}
	a.To, a.Comments = o.To, o.Comments
	if o.Instruction != "" {
		a.Kind = string(o.Instruction)
	}
	if err := json.Unmarshal([]byte(act), &a.Act); err != nil {
		return nil, err
	}
	if out != "" {
		var done outcome
		if err := json.Unmarshal([]byte(out), &done); err != nil {
			return nil, err
		}
		a.Transfer, a.Verdict = done.Transfer, done.Verdict
	}
	return a, nil
}

// loadApproval is nil without an error where there is none.
func loadApproval(ctx context.Context, q querier, id string) (*Approval, error) {
	a, err := scanApproval(q.QueryRowContext(ctx, "SELECT "+approvalColumns+" FROM approvals WHERE id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return a, err
}

// asOf is the approval as it stands now: one that has waited too long is over, though
// nothing has said so yet.
func (a *Approval) asOf(now time.Time) *Approval {
	if a.State == ApprovalPending && !now.Before(a.ExpiresAt) {
		a.State, a.DecidedAt = ApprovalExpired, a.ExpiresAt
	}
	return a
}
