package identity

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The modes of a trust entry: why a signing key is trusted.
const (
	ModePinned = "pinned" // it is listed
	// ModeCA: its certificate leads to an anchor of the entry and carries the
	// platform's domain. Keys that are listed must do so too.
	ModeCA = "ca"
)

// MaxKeysTried bounds the keys tried for a signature without kid (wire document,
// section 3).
const MaxKeysTried = 16

// Quirks are the readings of the 2022 text that a peer holds to, instead of
// ours. They are never found by guessing. Wire document, sections 1 and 2.
type Quirks struct {
	ChainField   string // how we spell the chain to this peer: "", "endorsementChain" or "endorcementChain"
	DocumentHash string // "" or "as-sent"
	EnvelopeHash string // "" or "base64url"
	BareKey      bool   // signing keys need no certificate
	// AssertionAudience is "" or AudienceTokenEndpoint: how the platform addresses its
	// client assertions to us.
	AssertionAudience string
}

// A TLSIdentity says by what a platform is known on a connection. If there are
// pins the leaf must have one; if there are anchors the leaf must lead to one and
// carry the platform's name; if there are both, both; if there is neither, the
// platform cannot connect.
type TLSIdentity struct {
	Pins    [][32]byte // SHA-256 of the leaf's SubjectPublicKeyInfo
	Anchors []*x509.Certificate
}

// A Platform is a trust entry: all that we believe of one platform. Make one
// with [ParseTrust]. It is shared between goroutines and must not be changed once
// in a [Trust].
type Platform struct {
	Domain   Host   // who it is
	Name     string // for people
	Code     string // its code in the trade, as DCSA lists them
	Hosts    []Host // further names it goes by
	Endpoint string // https URL of its transferblocks; empty: ask DNS
	Mode     string // ModePinned or ModeCA
	// Anchors are the ends of the paths of signing keys: in ModeCA they make them
	// trusted, in ModePinned they only tell who may speak for a certificate's standing.
	Anchors  []*x509.Certificate
	Issuer   bool     // may sign the first entry of a chain
	Carriers []string // the only carrierCodes it may issue for; empty: any
	Keys     []*Key   // in the order of the file
	TLS      TLSIdentity
	OCSP     OCSPPolicy
	OAuth    OAuth
	Quirks   Quirks
}

// An OCSPPolicy says how the standing of a platform's certificates is asked.
type OCSPPolicy struct {
	// Responder is the URL to ask; empty: the one that each certificate names.
	Responder string
	// SoftTLS lets a connection be where no answer can be had (never where the answer
	// is "revoked"). Signing keys have no such choice.
	SoftTLS bool
	// ShortLived passes over certificates that are valid for ShortLife at most.
	ShortLived bool
}

// ShortLife is the longest validity of a certificate that OCSPPolicy.ShortLived is about.
const ShortLife = 7 * 24 * time.Hour

// Owns reports whether h is p: its domain or one of its hosts covers h.
func (p *Platform) Owns(h Host) bool {
	return p.Domain.Covers(h) || slices.ContainsFunc(p.Hosts, func(own Host) bool { return own.Covers(h) })
}

// Key finds the one key of that kid, revoked or not. An empty kid finds none:
// without kid, try [Platform.KeysFor].
func (p *Platform) Key(kid string) (*Key, bool) {
	if kid == "" {
		return nil, false
	}
	for _, k := range p.Keys {
		if k.ID == kid {
			return k, true
		}
	}
	return nil, false
}

// KeysFor lists the keys that fit a, in whatever standing, for a signature
// without kid: the newest NotBefore first, at most MaxKeysTried, the same ones
// for every caller.
func (p *Platform) KeysFor(a Alg) []*Key {
	var keys []*Key
	for _, k := range p.Keys {
		if k.Fits(a) {
			keys = append(keys, k)
		}
	}
	slices.SortStableFunc(keys, func(x, y *Key) int {
		return cmp.Or(y.NotBefore.Compare(x.NotBefore), strings.Compare(x.ID, y.ID))
	})
	return keys[:min(len(keys), MaxKeysTried)]
}

// MayIssueFor reports whether p may sign the first entry of a chain for a
// document of that carrierCode (wire document, section 4).
func (p *Platform) MayIssueFor(carrierCode string) bool {
	return p.Issuer && (len(p.Carriers) == 0 || slices.Contains(p.Carriers, carrierCode))
}

// names are the DNS names of p, each once.
func (p *Platform) names() []string {
	out := []string{p.Domain.Name}
	for _, h := range p.Hosts {
		if !slices.Contains(out, h.Name) {
			out = append(out, h.Name)
		}
	}
	return out
}

// A Trust is the set of the platforms that we trust. It never changes; to trust
// others, make a new one and swap it. The zero Trust and a nil *Trust trust
// nobody.
type Trust struct {
	platforms []*Platform        // by domain
	hosts     map[Host]*Platform // domains and hosts
	pins      map[[32]byte]*Platform
	anchored  map[string][]*Platform // by DNS name: those known on TLS by anchors alone
}

// NewTrust makes a set. Whatever could name two platforms is refused: a host, a
// TLS pin, a signing key. So is a key that says it belongs to another platform.
func NewTrust(ps ...*Platform) (*Trust, error) {
	t := &Trust{
		platforms: slices.Clone(ps),
		hosts:     map[Host]*Platform{},
		pins:      map[[32]byte]*Platform{},
		anchored:  map[string][]*Platform{},
	}
	for _, p := range ps {
		if p == nil || p.Domain.IsZero() {
			return nil, errors.New("making a trust set: an entry without domain")
		}
	}
	slices.SortFunc(t.platforms, func(a, b *Platform) int { return compareHosts(a.Domain, b.Domain) })
	keys, byName := map[[32]byte]*Platform{}, map[string][]hostOwner{}
	for i, p := range t.platforms {
		if i > 0 && t.platforms[i-1].Domain == p.Domain {
			return nil, fmt.Errorf("making a trust set: two entries for %s", p.Domain)
		}
		if err := t.addHosts(p, byName); err != nil {
			return nil, err
		}
		for _, k := range p.Keys {
			if err := addKey(keys, p, k); err != nil {
				return nil, err
			}
		}
		for _, pin := range p.TLS.Pins {
			if other := t.pins[pin]; other != nil && other != p {
				return nil, fmt.Errorf("making a trust set: %s and %s have the same TLS pin", other.Domain, p.Domain)
			}
			t.pins[pin] = p
		}
		if len(p.TLS.Pins) == 0 && len(p.TLS.Anchors) > 0 {
			for _, name := range p.names() {
				t.anchored[name] = append(t.anchored[name], p)
			}
		}
	}
	return t, nil
}

type hostOwner struct {
	host  Host
	owner *Platform
}

func (t *Trust) addHosts(p *Platform, byName map[string][]hostOwner) error {
	for _, h := range append([]Host{p.Domain}, p.Hosts...) {
		for _, o := range byName[h.Name] {
			if o.owner != p && h.overlaps(o.host) {
				return fmt.Errorf("making a trust set: the host %s of %s is also %s of %s", h, p.Domain, o.host, o.owner.Domain)
			}
		}
		byName[h.Name] = append(byName[h.Name], hostOwner{h, p})
		t.hosts[h] = p
	}
	return nil
}

func addKey(keys map[[32]byte]*Platform, p *Platform, k *Key) error {
	if k == nil {
		return fmt.Errorf("making a trust set: %s has a key that is nil", p.Domain)
	}
	if k.Platform != p.Domain {
		return fmt.Errorf("making a trust set: the key %q of %s says that it belongs to %q", k.ID, p.Domain, k.Platform)
	}
	if err := checkPublic(k.Public); err != nil {
		return fmt.Errorf("making a trust set: the key %q of %s: %w", k.ID, p.Domain, err)
	}
	sum := k.Thumbprint()
	if other := keys[sum]; other != nil && other != p {
		return fmt.Errorf("making a trust set: the key %q of %s is also a key of %s", k.ID, p.Domain, other.Domain)
	}
	keys[sum] = p
	return nil
}

func compareHosts(a, b Host) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Port, b.Port))
}

// Find returns the platform that owns h.
func (t *Trust) Find(h Host) (*Platform, bool) {
	if t == nil {
		return nil, false
	}
	p := t.hosts[Host{Name: h.Name}] // speaks for every port
	if p == nil {
		p = t.hosts[h]
	}
	return p, p != nil
}

// Name is what h is called when hosts are compared: the domain of the platform
// that owns it, or h itself where nobody does.
func (t *Trust) Name(h Host) Host {
	if p, ok := t.Find(h); ok {
		return p.Domain
	}
	return h
}

// Platforms lists the entries by domain. The slice is the caller's.
func (t *Trust) Platforms() []*Platform {
	if t == nil {
		return nil
	}
	return slices.Clone(t.platforms)
}
