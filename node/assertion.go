package node

import (
	"context"
	"time"

	"eblnode/envelope"
)

const (
	// actWindow is how long a system's token may be good: from nbf and from iat to exp, and
	// from now to exp.
	actWindow = time.Minute
	// actSkew is how far ahead of ours a system's clock may say that it made a token, and
	// how long after its end it is still taken. It makes no token good for longer: the end
	// of a window is the end by our clock.
	actSkew = 10 * time.Second
)

// AuthenticateSystem finds the user for whom a system acts by a token that it signed: its
// name in sub, the key of its ring in kid, our domain in aud as one string, the customer in
// obo, the person in uid if it says so, exp at most a minute after nbf, iat and now, a jti
// that is used once. What it gives is the user itself, with Via set. The error is an *Error: Unauthorized, which does
// not tell an unknown system from a bad signature, or Forbidden.
func (n *Node) AuthenticateSystem(ctx context.Context, token string) (*User, error) {
	no := func(format string, args ...any) error {
		return refuse(Unauthorized, TextTokenInvalid, "the bearer token is not a good one of a registered system: "+format, args...)
	}
	j, err := envelope.ParseJWT(token)
	if err != nil {
		return nil, no("it is no JWT in its one spelling")
	}
	if j.Header.Typ != "" && j.Header.Typ != "JWT" {
		return nil, no("it is something else by its typ")
	}
	// No key is looked for by trial: a ring may hold the key of another program of the
	// customer, and what signs says which it is.
	if j.Header.Kid == "" {
		return nil, no("its header has no kid, the name of the key in the system's ring")
	}
	stranger := no("its system is not known here or disabled, or the signature is not that of the key of its ring that kid names")
	s, err := loadSystem(ctx, n.store.read, j.Claims.Subject)
	if err != nil {
		return nil, busy(err)
	}
	if s == nil || s.Disabled {
		return nil, stranger
	}
	ring, err := parseRing(s.Name, s.Keys)
	if err != nil {
		return nil, busy(err)
	}
	now := n.cfg.Now()
	if _, err := j.Verify(ring, now, false); err != nil {
		return nil, stranger
	}
	if why := n.wrongAct(&j.Claims, now); why != "" {
		return nil, no("%s", why)
	}
	c := j.Claims
	local := ""
	for _, customer := range s.Customers {
		if customer.ID == c.OnBehalfOf {
			local = customer.Local
		}
	}
	if local == "" {
		return nil, refuse(Forbidden, TextForbidden, "this system may not act for that customer")
	}
	u, err := loadUser(ctx, n.store.read, local)
	switch {
	case err != nil:
		return nil, busy(err)
	case u == nil || u.Disabled || u.Role == OperatorRole:
		return nil, refuse(Forbidden, TextForbidden, "this system may not act for that customer")
	}
	fresh, err := n.Spend(ctx, "system "+s.Name, c.ID, c.Expires.Add(actSkew))
	if err != nil {
		return nil, err
	}
	if !fresh {
		return nil, no("it was used before; sign one for each request, with a jti of its own")
	}
	u.Via = &Act{System: s.Name, Customer: c.OnBehalfOf, Person: c.UserID, Token: c.ID}
	return u, nil
}

// wrongAct is what is wrong with the claims of a system; "" if nothing is.
func (n *Node) wrongAct(c *envelope.Claims, now time.Time) string {
	switch {
	case !c.OneAudience || len(c.Audience) != 1 || c.Audience[0] != n.Domain().String():
		return "aud must be " + n.Domain().String() + ", as one string"
	case c.Expires.IsZero() || c.NotBefore.IsZero() && c.IssuedAt.IsZero():
		return "exp is missing, or both nbf and iat"
	case outside(c.NotBefore, c.Expires), outside(c.IssuedAt, c.Expires):
		return "exp lies more than 60 s after nbf or iat, or before it"
	case now.Before(c.NotBefore.Add(-actSkew)), now.Before(c.IssuedAt.Add(-actSkew)):
		return "it is not good yet by our clock"
	case c.Expires.After(envelope.UpToSecond(now).Add(actWindow)):
		return "exp is more than 60 s away by our clock"
	case now.After(c.Expires.Add(actSkew)):
		return "it has expired"
	case checkClaim(c.ID) != nil:
		return "jti must be there, 255 printable characters at most"
	case checkClaim(c.OnBehalfOf) != nil:
		return "obo must name the customer"
	case c.UserID != "" && checkClaim(c.UserID) != nil:
		return "uid must be printable, 255 characters at most"
	}
	return ""
}

// outside reports whether a claim that is there lies not within the window that ends at exp.
func outside(claim, exp time.Time) bool {
	return !claim.IsZero() && (exp.Before(claim) || exp.Sub(claim) > actWindow)
}
