package node

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// A Role is what a local user may do.
type Role string

// The roles. An issuer may do what a holder may, and issue; an auditor sees every bill
// and moves none; an operator runs the node and sees no bill.
const (
	IssuerRole   Role = "issuer"
	HolderRole   Role = "holder"
	AuditorRole  Role = "auditor"
	OperatorRole Role = "operator"
)

// A User is a local user, "local@our-domain".
type User struct {
	Local     string
	Name      string
	Role      Role
	Codes     []identity.IdentifyingCode
	Tax1      string
	Tax2      string
	Disabled  bool
	CreatedAt time.Time
	// Approvers are those of whom one must say yes to an order of the user; none: no order
	// waits.
	Approvers []string
	// Via is who acts in the user's name by a token of its own; nil: the user itself.
	Via *Act
}

// holds reports whether the user can be in control of a bill.
func (u *User) holds() bool { return u.Role == IssuerRole || u.Role == HolderRole }

// party is the form of a user's particulars in the database.
type party struct {
	Codes []identity.IdentifyingCode `json:"codes,omitempty"`
	Tax1  string                     `json:"tax1,omitempty"`
	Tax2  string                     `json:"tax2,omitempty"`
}

// AddUser adds a user and returns its bearer token, which is shown this once: only its
// SHA-256 is kept.
func (n *Node) AddUser(ctx context.Context, actor string, u User) (token string, err error) {
	if err := identity.CheckLocal(u.Local); err != nil {
		return "", refuse(Malformed, "malformed", "%s", err)
	}
	switch u.Role {
	case IssuerRole, HolderRole, AuditorRole, OperatorRole:
	default:
		return "", refuse(Malformed, "malformed", "the role %q is not issuer, holder, auditor or operator", string(u.Role))
	}
	if u.Role == IssuerRole && !n.Self().Issuer {
		return "", refuse(Malformed, "malformed", "this platform may not issue bills (issuer: false in its configuration), so it has no issuers")
	}
	token, sum := newToken()
	particulars, err := json.Marshal(party{u.Codes, u.Tax1, u.Tax2})
	if err != nil {
		return "", err
	}
	err = n.store.update(ctx, func(t *tx) error {
		var known int
		if err := t.QueryRowContext(t.ctx, "SELECT count(*) FROM users WHERE local_id = ?", u.Local).Scan(&known); err != nil {
			return err
		}
		if known > 0 {
			return refuse(Conflict, "conflict", "there is a user %s already", u.Local)
		}
		if err := t.exec("INSERT INTO users (local_id, name, role, token_sum, party, created_at) VALUES (?, ?, ?, ?, ?, ?)",
			u.Local, u.Name, string(u.Role), sum[:], string(particulars), millis(t.now)); err != nil {
			return err
		}
		return t.audit(actor, "user.add", envelope.Hash{}, u.Local+" "+string(u.Role)+" token "+envelope.HashOf(sum[:]).String()+" party "+envelope.HashOf(particulars).String())
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

// newToken makes a bearer token of 256 random bits, and the sum that is kept of it.
func newToken() (token string, sum [sha256.Size]byte) {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails
	token = "ebl_" + base64.RawURLEncoding.EncodeToString(raw[:])
	return token, sha256.Sum256([]byte(token))
}

// ReplaceToken gives a user a new bearer token and enables it again; the old token stops
// at once. Without it a user who lost its token could never move the bills it holds.
func (n *Node) ReplaceToken(ctx context.Context, actor, local string) (token string, err error) {
	token, sum := newToken()
	err = n.store.update(ctx, func(t *tx) error {
		err := t.execOne("UPDATE users SET token_sum = ?, disabled = 0 WHERE local_id = ?", sum[:], local)
		if errors.Is(err, errMoved) {
			return refuse(NotFound, TextUnknownUser, "there is no user %s", local)
		}
		if err != nil {
			return err
		}
		return t.audit(actor, "user.token", envelope.Hash{}, local+" token "+envelope.HashOf(sum[:]).String())
	})
	if err != nil {
		return "", orBusy(err)
	}
	return token, nil
}

// DisableUser stops a user's token and stops bills from being addressed to it. Bills it
// holds stay where they are.
func (n *Node) DisableUser(ctx context.Context, actor, local string) error {
	return n.store.update(ctx, func(t *tx) error {
		if err := t.execOne("UPDATE users SET disabled = 1 WHERE local_id = ?", local); err != nil {
			return refuse(NotFound, TextUnknownUser, "there is no user %s", local)
		}
		return t.audit(actor, "user.disable", envelope.Hash{}, local)
	})
}

const userColumns = `local_id, name, role, party, disabled, created_at,
  coalesce((SELECT group_concat(approver, ' ') FROM approvers a WHERE a.local_id = users.local_id), '')`

func scanUser(row interface{ Scan(...any) error }) (*User, error) {
	u := &User{}
	var particulars, approvers string
	var created int64
	if err := row.Scan(&u.Local, &u.Name, &u.Role, &particulars, &u.Disabled, &created, &approvers); err != nil {
		return nil, err
	}
	u.Approvers = strings.Fields(approvers)
	var p party
	if err := json.Unmarshal([]byte(particulars), &p); err != nil {
		return nil, fmt.Errorf("user %s: %w", u.Local, err)
	}
	u.Codes, u.Tax1, u.Tax2, u.CreatedAt = p.Codes, p.Tax1, p.Tax2, fromMillis(created)
	return u, nil
}

// loadUser is nil without an error where there is no such user.
func loadUser(ctx context.Context, q querier, local string) (*User, error) {
	u, err := scanUser(q.QueryRowContext(ctx, "SELECT "+userColumns+" FROM users WHERE local_id = ?", local))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return u, err
}

// Users lists the users by their local id.
func (n *Node) Users(ctx context.Context) ([]User, error) {
	rows, err := n.store.read.QueryContext(ctx, "SELECT "+userColumns+" FROM users ORDER BY local_id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []User{}
	for rows.Next() {
		u, err := scanUser(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, *u)
	}
	return list, rows.Err()
}

// Authenticate finds the user of a bearer token. The error is an *Error with code
// Unauthorized; it does not tell an unknown token from a disabled user's.
func (n *Node) Authenticate(ctx context.Context, token string) (*User, error) {
	sum := sha256.Sum256([]byte(token))
	u, err := scanUser(n.store.read.QueryRowContext(ctx, "SELECT "+userColumns+" FROM users WHERE token_sum = ?", sum[:]))
	switch {
	case errors.Is(err, sql.ErrNoRows) || err == nil && u.Disabled:
		return nil, refuse(Unauthorized, "tokenInvalid", "the bearer token is not that of an active user")
	case err != nil:
		return nil, busy(err)
	}
	return u, nil
}

// accepts reports whether a bill may be put under u's control when it is addressed to p:
// what the sender said of the party must not contradict what we registered, so that a
// mistyped local id does not hand a cargo to a stranger. With match, one particular
// given must be registered.
func (u *User) accepts(p identity.Party, match bool) bool {
	matched := false
	for _, given := range p.Codes {
		registered, equal := false, false
		for _, ours := range u.Codes {
			if given.Provider == ours.Provider && given.List == ours.List {
				registered, equal = true, equal || given.Code == ours.Code
			}
		}
		if registered && !equal {
			return false
		}
		matched = matched || equal
	}
	for _, tax := range [][2]string{{p.TaxReference1, u.Tax1}, {p.TaxReference2, u.Tax2}} {
		if tax[0] != "" && tax[1] != "" {
			if tax[0] != tax[1] {
				return false
			}
			matched = true
		}
	}
	return matched || !match
}
