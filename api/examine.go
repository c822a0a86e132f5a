package api

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"eblnode/api/oauth"
	"eblnode/discovery"
	"eblnode/identity"
	"eblnode/node"
)

// A Finding is one thing that was looked at, of us or of a peer.
type Finding struct {
	Check string `json:"check"`
	State string `json:"state"` // ok, warning, error, skipped
	Found string `json:"found"`
	Cure  string `json:"cure,omitempty"` // what to do, and who
}

// FindingList is what an examination found.
type FindingList struct {
	Findings []Finding `json:"findings"`
	Errors   int       `json:"errors"`
}

// An Examiner looks at what lies between us and a peer, step by step as a transfer goes,
// and says what is wrong and how to mend it. It sends no bill.
type Examiner struct {
	Node     *node.Node
	Resolver *discovery.Resolver
	Peers    *Peers
}

// examination is one run; done ends it where nothing further can be learnt.
type examination struct {
	*Examiner
	p    *identity.Platform
	now  time.Time
	list []Finding
	set  []*identity.Key // what the peer publishes, in the mode ca
}

func (x *examination) add(check, state, found, cure string) {
	x.list = append(x.list, Finding{check, state, found, cure})
}

// Peer examines a peer.
func (e *Examiner) Peer(ctx context.Context, p *identity.Platform) FindingList {
	ctx, cancel := context.WithTimeout(ctx, 50*time.Second)
	defer cancel()
	x := &examination{Examiner: e, p: p, now: e.Node.Now()}
	x.entry()
	if at, ok := x.dns(ctx); ok && x.server(ctx, at) {
		x.client(ctx, discovery.Endpoint{URL: at})
	}
	x.revocation(ctx)
	out := FindingList{Findings: x.list}
	for _, f := range x.list {
		if f.State == "error" {
			out.Errors++
		}
	}
	return out
}

const soon = 30 * 24 * time.Hour

// entry looks at what we hold of the peer.
func (x *examination) entry() {
	var last time.Time
	valid, forever := 0, false
	for _, k := range x.p.Keys {
		if k.Revoked.IsZero() && k.ValidAt(x.now) {
			valid++
			forever = forever || k.NotAfter.IsZero()
			if k.NotAfter.After(last) {
				last = k.NotAfter
			}
		}
	}
	ask := "ask the peer for its new trust entry: eblnode peer fetch " + x.p.Domain.String()
	switch {
	case x.p.Mode == identity.ModeCA:
		x.add("signing keys", "ok", "whatever the peer's authorities certify", "")
	case valid == 0:
		x.add("signing keys", "error", fmt.Sprintf("none of the %d keys that we hold is valid now: nothing new of this peer is believed", len(x.p.Keys)), ask)
	case !forever && last.Sub(x.now) < soon:
		x.add("signing keys", "warning", fmt.Sprintf("the last of %d runs out at %s", len(x.p.Keys), last.UTC().Format(time.RFC3339)), ask)
	default:
		x.add("signing keys", "ok", fmt.Sprintf("%d of %d are valid now", valid, len(x.p.Keys)), "")
	}
	if len(x.p.TLS.Pins)+len(x.p.TLS.Anchors) == 0 {
		x.add("trust entry", "error", "it has neither pins nor anchors for TLS, so that nobody can be this peer", "ask the peer for an entry with tls.pins")
	}
}

// dns finds the endpoint.
func (x *examination) dns(ctx context.Context) (*url.URL, bool) {
	at, err := x.Resolver.Endpoint(ctx, x.p.Domain, x.p.Endpoint)
	if err != nil {
		cure := "the peer must publish the TXT record that eblnode dns prints there, or its entry must name an endpoint"
		switch discovery.KindOf(err) {
		case discovery.Temporary:
			cure = "look at discovery.resolvers and at the way to them; then try again"
		case discovery.Ambiguous, discovery.BadRecord:
			cure = "the peer must mend its TXT records"
		case discovery.Insecure:
			cure = "the peer must sign its zone, or set discovery.dnssec to prefer"
		}
		x.add("DNS", "error", err.Error(), cure)
		return nil, false
	}
	how := "by the trust entry"
	if at.Source == discovery.TXT {
		how = "by its TXT record"
		if at.AuthenticData {
			how += ", with DNSSEC"
		}
	}
	x.add("DNS", "ok", fmt.Sprintf("%s, %s", at.URL, how), "")
	if at.Source == discovery.Configured {
		if other, err := x.Resolver.Endpoint(ctx, x.p.Domain, ""); err == nil && other.URL.String() != at.URL.String() {
			x.add("DNS", "warning", fmt.Sprintf("its TXT record says %s, and our entry %s", other.URL, at.URL), "ask the peer which is right; take the endpoint out of the entry to follow DNS")
		}
	}
	return at.URL, true
}

// server looks who answers at the endpoint.
func (x *examination) server(ctx context.Context, at *url.URL) bool {
	s, err := shown(ctx, x.Resolver, at)
	if err != nil {
		cure := "the peer's node or the way to it is down; or a firewall is between"
		if discovery.KindOf(err) == discovery.Forbidden {
			cure = "if the peer is in a private network, name that in discovery.allowNetworks"
		}
		x.add("TLS, server", "error", err.Error(), cure)
		return false
	}
	leaf := s.PeerCertificates[0]
	if err := x.p.CheckTLS(s.PeerCertificates, identity.ServerAuth, x.now); err != nil {
		x.add("TLS, server", "error", err.Error(), "ask the peer, over another channel, whether it changed its certificate ("+identity.PinText(identity.SPKIPin(leaf))+
			"); if so, take its new trust entry, by file or from its public listener: eblnode peer fetch "+x.p.Domain.String()+" --public. If not, somebody else answers in its place")
		return false
	}
	x.expiry("TLS, server", leaf, fmt.Sprintf("it is %s, until %s", x.p.Domain, leaf.NotAfter.UTC().Format(time.DateOnly)))
	return true
}

func (x *examination) expiry(check string, leaf *x509.Certificate, found string) {
	if leaf.NotAfter.Sub(x.now) < soon {
		x.add(check, "warning", found, "the peer needs a new certificate, and we its new pin before that is used")
		return
	}
	x.add(check, "ok", found, "")
}

// client asks as we do before a transfer: are we known there, are our keys, have we the
// same time, is a token needed and given.
func (x *examination) client(ctx context.Context, at discovery.Endpoint) {
	peer, err := x.Peers.Dial(x.p, at)
	c, ok := peer.(*Client)
	if err != nil || !ok {
		x.add("TLS, client", "error", fmt.Sprintf("no connection can be made: %v", err), "look at eblnode doctor")
		return
	}
	us := x.Node.Domain()
	before := x.now
	a, err := c.ask(ctx, us, http.MethodGet, c.path("../.well-known/jwks.json"), nil)
	if r, ok := errors.AsType[*identity.RevocationError](err); ok {
		// It is we who ended the handshake.
		cure := "ask the peer, over another channel, for a certificate that stands, and for its new trust entry"
		if r.State == identity.StateUnknown {
			cure = "until its responder answers we send the peer nothing: look at the way there (ocsp.responder in the entry, discovery.allowNetworks), and ask the peer; where its issuer is not known, list that under anchors in the entry and add it again"
		}
		x.add("OCSP, server", "error", r.Error(), cure)
		return
	}
	if err != nil {
		x.add("TLS, client", "error", err.Error(), "the peer does not take our certificate, or has not our entry as it is now: hand it eblnode peer self")
		return
	}
	if a.status != http.StatusOK && a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed {
		x.add("TLS, client", "error", a.refusal().Error(), "hand the peer our trust entry (eblnode peer self); it adds that with eblnode peer add")
		return
	}
	x.add("TLS, client", "ok", "the peer knows us", "")
	x.clock(a.date, before, x.Node.Now())
	x.keys(a)
	err = c.checkToken(ctx, us)
	none, lost := errors.AsType[*oauth.NoMetadata](err)
	switch {
	case c.tokens == nil:
	case lost:
		x.add("token", "error", "the peer wants access tokens and does not say where to get one: "+none.Error(),
			"the peer must publish /.well-known/oauth-authorization-server at the host of its endpoint; if an authorization server outside gives tokens for it, its trust entry must name that one (oauth.issuer), and so must our oauth.outside.issuer")
	case err != nil:
		x.add("token", "error", err.Error(), "compare the oauth part of both trust entries, and the clocks")
	case c.wanted.Load() == wantToken:
		x.add("token", "ok", "the peer wants access tokens, and gives us one", "")
	default:
		x.add("token", "ok", "the peer wants none", "")
	}
}

// clock compares the Date of an answer with ours, which a request lies between.
func (x *examination) clock(date string, before, after time.Time) {
	at, err := http.ParseTime(date)
	if err != nil {
		x.add("clock", "skipped", "the peer does not tell its time", "")
		return
	}
	apart := max(before.Sub(at)-time.Second, at.Sub(after), 0).Round(time.Second) // a Date is cut to seconds
	switch {
	case apart > 5*time.Minute:
		x.add("clock", "error", fmt.Sprintf("the peer's is %s away from ours; envelopes dated more than 5 minutes ahead are rejected", apart), "find out whose is wrong (doctor looks at ours), and set it")
	case apart > time.Minute:
		x.add("clock", "warning", fmt.Sprintf("the peer's is %s away from ours", apart), "both should follow NTP")
	default:
		x.add("clock", "ok", "the peer's is like ours", "")
	}
}

// keys compares the key set that the peer publishes with its trust entry.
func (x *examination) keys(a *answer) {
	fetch := "eblnode peer fetch " + x.p.Domain.String()
	if a.status != http.StatusOK {
		x.add("JWKS", "skipped", "the peer publishes no key set", "")
		return
	}
	set, err := identity.ParseKeySet(a.body, x.p.Domain, x.p.Quirks.BareKey)
	if err != nil {
		x.add("JWKS", "error", "the whole set is refused: "+err.Error(), "the peer must mend what it publishes; the keys of its trust entry serve on")
		return
	}
	news := unknownKeys(x.p, set)
	if gone := goneKeys(x.p, set); len(gone) > 0 {
		x.add("JWKS", "error", "the peer says of keys that they are revoked, and our entry does not, or says less: "+inWords(gone), "ask over another channel, then: "+fetch)
		return
	}
	switch {
	case x.p.Mode == identity.ModeCA:
		x.certified(set)
	case len(news) > 0:
		x.add("JWKS", "warning", "the peer publishes keys that we do not hold: "+strings.Join(news, ", "), "compare their fingerprints over another channel: "+fetch)
	default:
		x.add("JWKS", "ok", fmt.Sprintf("%d keys, all of them in our entry", len(set)), "")
	}
}

// certified looks whether the keys that the peer publishes lead to its authorities.
func (x *examination) certified(set []*identity.Key) {
	for _, k := range set {
		if !k.Revoked.IsZero() || !k.ValidAt(x.now) {
			continue
		}
		if _, err := x.p.Certify(k, x.now, nil); err != nil {
			x.add("JWKS", "error", fmt.Sprintf("the key %q: %s", k.ID, err), "the peer must have it certified by an authority of its trust entry")
			return
		}
		x.set = append(x.set, k)
	}
	x.add("JWKS", "ok", fmt.Sprintf("%d keys, %d of them valid now and certified by the peer's authorities", len(set), len(x.set)), "")
}

// revocation asks how it stands with the keys that the peer may sign with now.
func (x *examination) revocation(ctx context.Context) {
	asked := 0
	for _, k := range slices.Concat(x.p.Keys, x.set) {
		if !k.Revoked.IsZero() || !k.ValidAt(x.now) || asked == 5 {
			continue
		}
		yes, err := x.Node.Standing(ctx, x.p, k)
		switch r, ok := errors.AsType[*identity.RevocationError](err); {
		case err == nil && !yes:
			continue
		case err == nil:
		case ok && r.State != identity.StateUnknown:
			x.add("OCSP", "error", fmt.Sprintf("the key %q: %s", k.ID, err), "ask the peer over another channel, and take its new keys: eblnode peer fetch "+x.p.Domain.String())
		default:
			x.add("OCSP", "error", fmt.Sprintf("the key %q: %s", k.ID, err), "until its responder answers, nothing that this key signs is accepted: look at the way there (ocsp.responder in the entry, discovery.allowNetworks), and ask the peer")
		}
		asked++
	}
	if asked == 0 {
		x.add("OCSP", "skipped", "no responder is named for the keys that we hold; revocation is what the trust entry says", "")
		return
	}
	if last := x.list[len(x.list)-1]; last.Check != "OCSP" {
		x.add("OCSP", "ok", fmt.Sprintf("%d keys stand", asked), "")
	}
}

// unknownKeys names the keys of a set that p's entry has not, or has as others.
func unknownKeys(p *identity.Platform, set []*identity.Key) (news []string) {
	for _, k := range set {
		held := false
		for _, own := range p.Keys {
			held = held || own.Thumbprint() == k.Thumbprint()
		}
		if !held {
			news = append(news, fmt.Sprintf("%q (%s)", k.ID, k.Fingerprint()))
		}
	}
	return news
}

// Current asks a known peer, over a connection that proves who it is, for the trust entry
// that it publishes of itself now. Of one that publishes a key set alone it is our entry with
// those keys, and composed.
func (e *Examiner) Current(ctx context.Context, p *identity.Platform) (now *identity.Platform, composed bool, err error) {
	at, err := e.Resolver.Endpoint(ctx, p.Domain, p.Endpoint)
	if err != nil {
		return nil, false, err
	}
	peer, err := e.Peers.Dial(p, at)
	if err != nil {
		return nil, false, err
	}
	c, ok := peer.(*Client)
	if !ok {
		return nil, false, errors.New("the peer is in this process")
	}
	us := e.Node.Domain()
	entry, err := c.Platform(ctx, us)
	if err != nil {
		return nil, false, err
	}
	keys, err := c.Keys(ctx, us)
	if err != nil {
		return nil, false, err
	}
	switch {
	case entry != nil:
		now, err = published(p.Domain, entry, keys)
		return now, false, err
	case keys == nil:
		return nil, false, fmt.Errorf("%s publishes neither a trust entry nor a key set", p.Domain)
	}
	set, err := identity.ParseKeySet(keys, p.Domain, p.Quirks.BareKey)
	if err != nil {
		return nil, false, fmt.Errorf("the key set that %s publishes: %w", p.Domain, err)
	}
	with := *p
	with.Keys = set
	return &with, true, nil
}
