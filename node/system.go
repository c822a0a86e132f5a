package node

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// A System is a customer's own system, an ERP say, that is registered with its keys and
// acts for local users by tokens that it signs, one for each request. It has no rights of
// its own: what it may do is what the user may do for whom it acts.
type System struct {
	// Name is what its tokens call it (sub); the form of a local id.
	Name string
	// Keys is its key ring, a JWK set. A token's kid names the key, so each has one; bare keys
	// are taken.
	Keys []byte
	// Customers are those for whom it may act.
	Customers []Customer
	Disabled  bool
	CreatedAt time.Time
}

// A Customer is a local user as a system names it.
type Customer struct {
	ID    string // what its tokens say (obo); 1 to 255 printable ASCII characters without space
	Local string // the local user
}

// An Act says who acts in a user's name, where that is not the user itself with its own
// token.
type Act struct {
	System   string `json:"system,omitempty"`
	Customer string `json:"onBehalfOf,omitempty"` // the user, as the system names it
	Person   string `json:"userId,omitempty"`     // at the customer, as the system says
	Token    string `json:"tokenId,omitempty"`    // its jti
	Approver string `json:"approvedBy,omitempty"` // the second person, where there had to be one
}

// approvedBy is the act with its second person.
func (a *Act) approvedBy(local string) *Act {
	b := Act{}
	if a != nil {
		b = *a
	}
	b.Approver = local
	return &b
}

// note is what the audit log says of an act, behind what was done.
func (a *Act) note() string {
	if a == nil {
		return ""
	}
	text, err := json.Marshal(a)
	if err != nil {
		return " by somebody" // four strings always encode
	}
	return " by " + string(text)
}

// maxClaim is the longest obo, uid and jti, in bytes.
const maxClaim = 255

// checkClaim allows what can stand in a log without drawing on anybody's terminal.
func checkClaim(s string) error {
	if s == "" || len(s) > maxClaim {
		return fmt.Errorf("it has not 1 to %d bytes", maxClaim)
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return errors.New("it holds something other than printable ASCII without spaces")
		}
	}
	return nil
}

// parseRing reads the key ring of a system by the strict rules of a trust entry: a private
// or symmetric key, a kid twice, one key of several without kid are refused.
func parseRing(name string, keys []byte) (*identity.Platform, error) {
	// No system is a platform: the name only marks whose keys they are.
	entry := `{"domain":"system.invalid","quirks":{"bareKey":true},"keys":` + string(keys) + `}`
	ps, err := identity.ParseTrust([]byte(entry))
	if err != nil {
		return nil, fmt.Errorf("the keys of %s: %w", name, err)
	}
	return ps[0], nil
}

// AddSystem registers a system, or gives one that is known other keys and customers; a
// disabled one is enabled again.
func (n *Node) AddSystem(ctx context.Context, actor string, s System) error {
	if err := identity.CheckLocal(s.Name); err != nil {
		return refuse(Malformed, "malformed", "the name of the system: %s", err)
	}
	if !json.Valid(s.Keys) {
		return refuse(Malformed, "malformed", "the keys are not a JWK set")
	}
	ring, err := parseRing(s.Name, s.Keys)
	if err != nil {
		return refuse(Malformed, "malformed", "%s", err)
	}
	for _, k := range ring.Keys {
		if k.ID == "" {
			return refuse(Malformed, "malformed", "a key has no kid, by which the system's tokens name it")
		}
		for _, p := range n.Trust().Platforms() {
			if slices.ContainsFunc(p.Keys, func(o *identity.Key) bool { return o.Thumbprint() == k.Thumbprint() }) {
				return refuse(Malformed, "malformed", "the key %q is a signing key of %s; a system has keys of its own", k.ID, p.Domain)
			}
		}
	}
	if len(s.Customers) == 0 {
		return refuse(Malformed, "malformed", "say for whom the system acts")
	}
	for _, c := range s.Customers {
		if err := checkClaim(c.ID); err != nil {
			return refuse(Malformed, "malformed", "the customer %q: %s", clip(c.ID), err)
		}
	}
	return orNil(n.store.update(ctx, func(t *tx) error { return t.addSystem(actor, &s) }))
}

// orNil is orBusy where there may be no error.
func orNil(err error) error {
	if err == nil {
		return nil
	}
	return orBusy(err)
}

func (t *tx) addSystem(actor string, s *System) error {
	if err := t.exec(`INSERT INTO systems (name, keys, created_at) VALUES (?, ?, ?)
	  ON CONFLICT (name) DO UPDATE SET keys = excluded.keys, disabled = 0`, s.Name, string(s.Keys), millis(t.now)); err != nil {
		return err
	}
	if err := t.exec("DELETE FROM system_customers WHERE system = ?", s.Name); err != nil {
		return err
	}
	var names, pairs []string
	for _, c := range s.Customers {
		u, err := loadUser(t.ctx, t, c.Local)
		switch {
		case err != nil:
			return err
		case u == nil:
			return refuse(NotFound, TextUnknownUser, "there is no user %s", c.Local)
		case u.Role == OperatorRole:
			return refuse(Malformed, "malformed", "%s is an operator, for whom no system acts", c.Local)
		case slices.Contains(names, c.ID):
			return refuse(Malformed, "malformed", "the customer %s is there twice", c.ID)
		}
		names, pairs = append(names, c.ID), append(pairs, c.ID+"="+c.Local)
		if err := t.exec("INSERT INTO system_customers (system, customer, local_id) VALUES (?, ?, ?)", s.Name, c.ID, c.Local); err != nil {
			return err
		}
	}
	return t.audit(actor, "system.add", envelope.Hash{}, s.Name+" for "+strings.Join(slices.Sorted(slices.Values(pairs)), " ")+" keys "+envelope.HashOf(s.Keys).String())
}

// DisableSystem stops a system's tokens at once.
func (n *Node) DisableSystem(ctx context.Context, actor, name string) error {
	return orNil(n.store.update(ctx, func(t *tx) error {
		if err := t.execOne("UPDATE systems SET disabled = 1 WHERE name = ?", name); errors.Is(err, errMoved) {
			return refuse(NotFound, "notFound", "there is no system %s", clip(name))
		} else if err != nil {
			return err
		}
		return t.audit(actor, "system.disable", envelope.Hash{}, name)
	}))
}

// loadSystem is nil without an error where there is no such system.
func loadSystem(ctx context.Context, q querier, name string) (*System, error) {
	s := &System{Name: name}
	var keys string
	var created int64
	err := q.QueryRowContext(ctx, "SELECT keys, disabled, created_at FROM systems WHERE name = ?", name).Scan(&keys, &s.Disabled, &created)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.Keys, s.CreatedAt = []byte(keys), fromMillis(created)
	err = each(ctx, q, "SELECT customer, local_id FROM system_customers WHERE system = ? ORDER BY customer", []any{name}, func(scan func(...any) error) error {
		var c Customer
		err := scan(&c.ID, &c.Local)
		s.Customers = append(s.Customers, c)
		return err
	})
	return s, err
}

// Systems lists the registered systems by name.
func (n *Node) Systems(ctx context.Context) ([]System, error) {
	var names []string
	err := each(ctx, n.store.read, "SELECT name FROM systems ORDER BY name", nil, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		names = append(names, name)
		return err
	})
	list := []System{}
	for _, name := range names {
		s, loadErr := loadSystem(ctx, n.store.read, name)
		if loadErr != nil || s == nil {
			return nil, errors.Join(err, loadErr)
		}
		list = append(list, *s)
	}
	return list, err
}

// Fingerprints are those of the system's keys, by kid.
func (s *System) Fingerprints() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		ring, err := parseRing(s.Name, s.Keys)
		if err != nil {
			return // it was read when it was added
		}
		for _, k := range ring.Keys {
			if !yield(k.ID, k.Fingerprint()) {
				return
			}
		}
	}
}
