package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"eblnode/api"
	"eblnode/discovery"
	"eblnode/identity"

	"github.com/spf13/cobra"
)

// A fetchPlan is what eblnode peer fetch is told.
type fetchPlan struct {
	place, out        string
	yes, bare, public bool
}

func (a *app) peerFetch() *cobra.Command {
	p := fetchPlan{}
	c := &cobra.Command{
		Use: "fetch DOMAIN", Short: "Fetch a platform's trust entry from it, and add it", Args: cobra.ExactArgs(1),
		Long: `Fetch the trust entry that a platform publishes of itself, show its fingerprint, and add it
once you have confirmed that the platform says the same over another channel (by
telephone, say). Whoever controls DNS or the way there can show you an entry of his own:
the fingerprint is the proof, and nothing else is.

A stranger's entry is fetched from the place that its TXT record ebl-keys=https://… names,
else from https://DOMAIN. A platform that publishes only a key set gets an entry that is
put together from that and from the certificate at its endpoint; compare the fingerprints
of its keys then. A peer's entry is fetched from its peer listener, over a connection that
proves who it is: the way to take its new keys. With --public it is asked like a stranger: the
way where it shows a TLS certificate that our entry does not know, or does not know ours.

Of a peer only what it may say of itself is taken over: name, hosts, endpoint, keys, how it
is known on TLS, where its tokens and revocation answers are. What we granted it stays as
it is here: the right to issue, carriers, quirks, mode and anchors.`,
		Example: `  eblnode peer fetch bank.example
  eblnode peer fetch bank.example --url https://keys.bank.example:8444 --out bank.json`,
		RunE: func(c *cobra.Command, args []string) error {
			domain, err := identity.ParseHost(args[0])
			if err != nil {
				return usage("%s: %s", plain(args[0]), err)
			}
			return a.withAdmin(c, func(r *remote) error { return a.fetch(c.Context(), r, domain, p) })
		},
	}
	f := c.Flags()
	f.StringVar(&p.place, "url", "", "where the platform publishes its keys, https://host[:port] (default: DNS says it)")
	f.BoolVar(&p.public, "public", false, "ask a peer like a stranger, at the place that DNS names; nothing is proved there")
	f.StringVar(&p.out, "out", "", "write the entry to this new file instead of adding it")
	f.BoolVar(&p.yes, "yes", false, "the fingerprint has been compared; do not ask")
	f.BoolVar(&p.bare, "bare-key", false, "take keys without a certificate too (quirks.bareKey)")
	return c
}

func (a *app) fetch(ctx context.Context, r *remote, domain identity.Host, p fetchPlan) error {
	held, err := heldEntry(ctx, r, domain)
	if err != nil {
		return err
	}
	got := &api.Fetched{From: "its peer listener"}
	if held != nil && p.place == "" && !p.public {
		var view api.EntryView
		if err := r.call(ctx, http.MethodPost, "/admin/v1/peers/"+url.PathEscape(domain.String())+"/fetch", []byte("{}"), &view); err != nil {
			return fmt.Errorf("%w (where its certificate is a new one, or it does not know ours: --public asks it like a stranger)", err)
		}
		got.Composed = view.Composed
		got.Platform, err = oneEntry(view.Entry)
	} else {
		got, err = a.fetchFrom(ctx, domain, p)
	}
	if err != nil {
		return err
	}
	entry := got.Platform
	if held != nil {
		entry = renewed(held, got)
		if entry.SameAs(held) {
			return a.print(map[string]any{"domain": domain.String(), "changed": false, "fingerprint": held.Fingerprint()}, func(w io.Writer) {
				fmt.Fprintf(w, "%s publishes nothing that we do not have\n", domain)
			})
		}
	}
	if p.out != "" {
		text, err := entry.JSON()
		if err != nil {
			return err
		}
		if err := writeNew(p.out, text); err != nil {
			return err
		}
	}
	a.describe(got, held, entry)
	if p.out == "" {
		if !p.yes && !a.agreed("Does the platform say the same over another channel? [y/N] ") {
			return refused("%s is not confirmed, so nothing was added (--yes says that you have compared the fingerprint)", domain)
		}
		text, err := entry.JSON()
		if err != nil {
			return err
		}
		if err := r.call(ctx, http.MethodPost, "/admin/v1/peers", text, nil); err != nil {
			return err
		}
	}
	out := map[string]any{"domain": domain.String(), "changed": true, "from": got.From, "composed": got.Composed,
		"fingerprint": got.Platform.Fingerprint(), "out": p.out}
	return a.print(out, func(w io.Writer) {
		if p.out != "" {
			fmt.Fprintf(w, "wrote %s; nothing was added. When its fingerprint is compared: eblnode peer add %s\n", p.out, p.out)
			return
		}
		fmt.Fprintf(w, "added %s\nnext: eblnode peer check %s\n", domain, domain)
	})
}

// heldEntry is the trust entry that we hold of domain; nil if there is none.
func heldEntry(ctx context.Context, r *remote, domain identity.Host) (*identity.Platform, error) {
	var view api.EntryView
	err := r.call(ctx, http.MethodGet, "/admin/v1/peers/"+url.PathEscape(domain.String()), nil, &view)
	if answered, ok := errors.AsType[*remoteError](err); ok && answered.Status == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return oneEntry(view.Entry)
}

func oneEntry(text []byte) (*identity.Platform, error) {
	ps, err := identity.ParseTrust(text)
	if err != nil {
		return nil, refused("%w", err)
	}
	if len(ps) != 1 {
		return nil, refused("that is not one trust entry")
	}
	return ps[0], nil
}

// fetchFrom asks a stranger.
func (a *app) fetchFrom(ctx context.Context, domain identity.Host, p fetchPlan) (*api.Fetched, error) {
	c, err := loadConfig(a.data)
	if err != nil {
		return nil, err
	}
	resolver, err := newResolver(c, nil, false)
	if err != nil {
		return nil, err
	}
	if p.place != "" {
		if _, err := discovery.ParseKeysPlace(p.place); err != nil {
			return nil, usage("--url: %s", err)
		}
	}
	got, err := api.Fetch(ctx, resolver, domain, p.place, p.bare)
	if err != nil {
		return nil, unsure("%w", err)
	}
	return got, nil
}

// renewed is held with what the platform may say of itself taken from what was fetched. Keys
// and hosts that older chains need stay. A key set says nothing but keys: of an entry that was
// composed of one, the certificate of the endpoint is all that is new beside them.
func renewed(held *identity.Platform, got *api.Fetched) *identity.Platform {
	p, now := *held, got.Platform
	if got.Composed {
		p.TLS.Pins = slices.Clone(held.TLS.Pins)
		for _, pin := range now.TLS.Pins {
			if len(held.TLS.Pins) > 0 && !slices.Contains(p.TLS.Pins, pin) {
				p.TLS.Pins = append(p.TLS.Pins, pin)
			}
		}
	} else {
		p.Name, p.Code, p.Endpoint = now.Name, now.Code, now.Endpoint
		p.TLS.Pins, p.OAuth = now.TLS.Pins, now.OAuth // how revocation is asked is ours to say
	}
	p.Hosts = slices.Clone(now.Hosts)
	for _, h := range held.Hosts {
		if !p.Owns(h) {
			p.Hosts = append(p.Hosts, h)
		}
	}
	p.Keys = slices.Clone(now.Keys)
	for _, k := range held.Keys {
		i := slices.IndexFunc(p.Keys, func(o *identity.Key) bool { return o.Thumbprint() == k.Thumbprint() })
		if i < 0 {
			p.Keys = append(p.Keys, k)
		} else {
			p.Keys[i] = stillRevoked(k, p.Keys[i])
		}
	}
	return &p
}

// stillRevoked is now with the mark of held where that says more: what an operator marked here
// is not taken back, made later or made harmless by the peer's own word.
func stillRevoked(held, now *identity.Key) *identity.Key {
	if held.Revoked.IsZero() {
		return now
	}
	k := *now
	if k.Revoked.IsZero() || held.Compromised() && !k.Compromised() {
		k.Reason = held.Reason
	}
	if k.Revoked.IsZero() || held.Revoked.Before(k.Revoked) {
		k.Revoked = held.Revoked
	}
	return &k
}

// describe shows what was fetched, and what would change.
func (a *app) describe(got *api.Fetched, held, entry *identity.Platform) {
	w, p := a.errOut, got.Platform
	fmt.Fprintf(w, "domain: %s\n  name: %s\n  from: %s", p.Domain, plain(p.Name), plain(got.From))
	if got.Record != "" {
		fmt.Fprintf(w, " (%s)", plain(got.Record))
	}
	if got.AuthenticData {
		fmt.Fprint(w, ", with DNSSEC")
	}
	fmt.Fprintf(w, "\n  endpoint: %s\n  may issue bills: %t\n", plain(cmp.Or(p.Endpoint, "as DNS says")), entry.Issuer)
	describeRights(w, entry)
	for _, k := range entry.Keys {
		note := ""
		if held != nil {
			if i := slices.IndexFunc(held.Keys, func(o *identity.Key) bool { return o.Thumbprint() == k.Thumbprint() }); i < 0 {
				note = ", new"
			} else if held.Keys[i].Revoked.IsZero() && !k.Revoked.IsZero() {
				note = ", now revoked"
			}
		}
		fmt.Fprintf(w, "  key %s: %s%s\n", plain(cmp.Or(k.ID, "without name")), k.Fingerprint(), note)
	}
	for _, pin := range entry.TLS.Pins {
		note := ""
		if held != nil && !slices.Contains(held.TLS.Pins, pin) {
			note = ", new"
		}
		fmt.Fprintf(w, "  TLS: %s%s\n", identity.PinText(pin), note)
	}
	if held != nil {
		for _, pin := range held.TLS.Pins {
			if !slices.Contains(entry.TLS.Pins, pin) {
				fmt.Fprintf(w, "  TLS: %s, not any more\n", identity.PinText(pin))
			}
		}
	}
	if got.Composed {
		fmt.Fprintln(w, "The platform publishes no trust entry: compare the fingerprint of each key, and each TLS pin that is new.")
		return
	}
	fmt.Fprintf(w, "  fingerprint: %s\n", p.Fingerprint())
}

// describeRights shows what an entry lets a platform do beyond its keys, and where it makes us
// look less closely: somebody has to agree to that too.
func describeRights(w io.Writer, entry *identity.Platform) {
	for _, extra := range []struct {
		say        bool
		what, text string
	}{
		{len(entry.Carriers) > 0, "for carriers", strings.Join(entry.Carriers, ", ")},
		{entry.Mode == identity.ModeCA, "mode", fmt.Sprintf("ca: whatever its %d authorities certify may sign", len(entry.Anchors))},
		{len(entry.TLS.Anchors) > 0, "TLS", fmt.Sprintf("whatever its %d authorities certify may connect", len(entry.TLS.Anchors))},
		{entry.OCSP.SoftTLS, "revocation", "it may connect while nobody can say whether its certificate is revoked"},
		{entry.OCSP.ShortLived, "revocation", "nobody is asked about certificates that live a week"},
		{entry.OCSP.Responder != "", "revocation", "asked at " + entry.OCSP.Responder},
		{entry.OAuth != (identity.OAuth{}), "tokens", fmt.Sprintf("%+v", entry.OAuth)},
		{entry.Quirks != (identity.Quirks{}), "quirks", fmt.Sprintf("%+v", entry.Quirks)},
	} {
		if extra.say {
			fmt.Fprintf(w, "  %s: %s\n", extra.what, plain(extra.text))
		}
	}
}

// agreed asks a person.
func (a *app) agreed(question string) bool {
	fmt.Fprint(a.errOut, question)
	var answer string
	_, _ = fmt.Fscanln(a.in, &answer)
	s := strings.ToLower(strings.TrimSpace(answer))
	return s == "y" || s == "yes"
}

func (a *app) peerCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check DOMAIN", Short: "Look at everything between us and a peer", Args: cobra.ExactArgs(1),
		Long: `Look, step by step as a transfer goes, at what lies between us and a peer: what we hold of
it, DNS, TLS both ways, its key set, revocation, its clock, its token endpoint; and say
what is wrong and how to mend it. No bill is sent and nothing is changed. Exit code 1 if
something is an error.`,
		Example: `  eblnode peer check bank.example`,
		RunE: func(c *cobra.Command, args []string) error {
			domain, err := identity.ParseHost(args[0])
			if err != nil {
				return usage("%s: %s", plain(args[0]), err)
			}
			return a.withAdmin(c, func(r *remote) error {
				var out api.FindingList
				if err := r.call(c.Context(), http.MethodPost, "/admin/v1/peers/"+url.PathEscape(domain.String())+"/check", []byte("{}"), &out); err != nil {
					return err
				}
				return a.report(out.Findings)
			})
		},
	}
}

// withExaminer lets operators look at what lies between us and a peer.
func withExaminer(opts api.Options, o *opened) api.Options {
	opts.Examine = o.examiner()
	return opts
}

func (o *opened) examiner() *api.Examiner {
	return &api.Examiner{Node: o.node, Resolver: o.resolver, Peers: o.peers}
}

// report prints findings; an error among them is exit code 1.
func (a *app) report(list []api.Finding) error {
	bad := 0
	for _, f := range list {
		if f.State == "error" {
			bad++
		}
	}
	err := a.print(api.FindingList{Findings: list, Errors: bad}, func(w io.Writer) {
		for _, f := range list {
			fmt.Fprintf(w, "%-8s %-14s %s\n", f.State, f.Check, plain(f.Found))
			if f.Cure != "" {
				fmt.Fprintf(w, "%-8s %-14s → %s\n", "", "", plain(f.Cure))
			}
		}
	})
	if err != nil || bad == 0 {
		return err
	}
	return &exitError{1, errors.New("")}
}
