package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"eblnode/api"
	"eblnode/identity"
	"eblnode/internal/keyfile"

	"github.com/spf13/cobra"
)

func (a *app) keyCommand() *cobra.Command {
	key := &cobra.Command{Use: "key", Short: "Our keys: which there are, until when, and new ones",
		Long: `Our keys are the files of the folder keys/. There may be several for each use, signing and
tls: of those that are valid, the one whose turn came last is used. Old certificates stay
for ever, since what they signed is checked for years.`}
	key.AddCommand(a.keyList(), a.keyRotate(), a.keyImport(), a.keyCSR(), a.keyRevoke(), a.keyEncrypt())
	return key
}

// A keyLine is one key in a list.
type keyLine struct {
	Use         keyfile.Use `json:"use"`
	Name        string      `json:"name"`
	InUse       bool        `json:"inUse"`
	State       string      `json:"state"`
	From        time.Time   `json:"from,omitzero"`
	NotBefore   time.Time   `json:"notBefore"`
	NotAfter    time.Time   `json:"notAfter"`
	Peer        string      `json:"peer,omitempty"`
	Private     string      `json:"private,omitempty"` // file, encrypted, hsm; absent: we have it no more
	Fingerprint string      `json:"fingerprint"`
}

func (a *app) keyList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List our keys and how long they are valid", Args: cobra.NoArgs,
		Long: `List our keys: which one is used now, which one's turn comes when, and which are old. The
fingerprint of a signing key is its RFC 7638 thumbprint, that of a TLS key its pin.`,
		RunE: func(*cobra.Command, []string) error {
			_, k, err := a.ownKeys()
			if err != nil {
				return err
			}
			list := k.list(time.Now())
			return a.print(map[string]any{"keys": list}, func(w io.Writer) {
				table(w, "USE\tNAME\tSTATE\tPRIVATE KEY\tVALID FROM\tUNTIL\tFINGERPRINT", func(t io.Writer) {
					for _, l := range list {
						fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Use, l.Name, plain(l.State), cmp.Or(l.Private, "-"), l.NotBefore.Format(time.DateOnly), l.NotAfter.Format(time.DateOnly), l.Fingerprint)
					}
				})
			})
		},
	}
}

// ownKeys reads configuration and keys.
func (a *app) ownKeys() (*config, *keys, error) {
	c, err := loadConfig(a.data)
	if err != nil {
		return nil, nil, err
	}
	k, err := loadKeys(a.data, c, nil)
	return c, k, err
}

func (k *keys) list(now time.Time) (list []keyLine) {
	signs := k.signsAt(now)
	for i, f := range k.signing {
		p := k.public[i]
		l := keyLine{Use: f.Use, Name: f.Name, InUse: p == signs, From: f.Note.From.UTC(), NotBefore: p.NotBefore.UTC(), NotAfter: p.NotAfter.UTC(), Fingerprint: p.Fingerprint()}
		l.State, l.Private = state(&f, l.InUse, p.NotAfter, now), k.keptIn(&f)
		list = append(list, l)
	}
	for i := range k.tls {
		t := &k.tls[i]
		leaf := t.Chain[0]
		l := keyLine{Use: t.Use, Name: t.Name, InUse: t == keyfile.Current(k.tls, now, t.Note.Peer), From: t.Note.From.UTC(),
			NotBefore: leaf.NotBefore.UTC(), NotAfter: leaf.NotAfter.UTC(), Peer: t.Note.Peer, Fingerprint: identity.PinText(identity.SPKIPin(leaf))}
		l.State, l.Private = state(t, l.InUse, leaf.NotAfter, now), k.keptIn(t)
		list = append(list, l)
	}
	return list
}

// state is what a key is now, for people.
func state(k *keyfile.Key, used bool, until, now time.Time) string {
	text := "old"
	switch {
	case !k.Note.Revoked.IsZero():
		text = "revoked"
		if k.Note.Reason != "" {
			text += " (" + k.Note.Reason + ")"
		}
	case now.After(until):
		text = "expired"
	case used:
		text = "in use"
	case k.Private == nil:
		text = "old, no private key"
	case k.Note.From.After(now):
		text = "from " + k.Note.From.UTC().Format("2006-01-02T15:04Z")
	}
	if k.Note.Peer != "" {
		text += ", for " + k.Note.Peer
	}
	return text
}

// A span is a duration that may be written in days.
type span time.Duration

func (s *span) String() string { return time.Duration(*s).String() }

// Type is how the help calls it.
func (s *span) Type() string { return "duration" }

// Set reads "7d" and what time.ParseDuration does; never less than nothing.
func (s *span) Set(text string) error {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		if n, err = strconv.Atoi(days); err == nil {
			d = time.Duration(n) * 24 * time.Hour
		}
	}
	if err != nil || d < 0 || d > 10*365*24*time.Hour {
		return errors.New("not a duration such as 7d, 12h or 30m")
	}
	*s = span(d)
	return nil
}

// A newKeyPlan is what the commands are told that bring a key.
type newKeyPlan struct {
	use, name, alg, peer string
	hsm                  string
	in                   span
	now                  bool
	days                 int
}

const week = 7 * 24 * time.Hour

func (p *newKeyPlan) turn(now time.Time) time.Time {
	if p.now {
		return now.UTC().Truncate(time.Second)
	}
	return now.Add(time.Duration(p.in)).UTC().Truncate(time.Second)
}

func (p *newKeyPlan) flags(c *cobra.Command, uses string) {
	f := c.Flags()
	f.StringVar(&p.use, "use", p.use, uses)
	f.StringVar(&p.name, "name", "", "its name, for a signing key also its kid (default: today's date)")
}

func (p *newKeyPlan) hsmFlag(c *cobra.Command) {
	c.Flags().StringVar(&p.hsm, "hsm", "", "label of the key in the hardware of keys.pkcs11, in the place of a file")
}

// maker is who makes the key that is asked for.
func (p *newKeyPlan) maker(c *config, folder string) (maker, error) {
	m := maker{access: c.access()}
	var err error
	if p.hsm != "" {
		m.private, err = c.hardware(m.access, p.hsm)
		return m, err
	}
	return m, sameCare(folder, m.access)
}

func (p *newKeyPlan) turnFlags(c *cobra.Command) {
	p.in = span(week)
	c.Flags().Var(&p.in, "in", "how long from now its turn comes: peers need the new trust entry before (default 7d)")
	c.Flags().Lookup("in").DefValue = ""
	c.Flags().BoolVar(&p.now, "now", false, "its turn comes at once")
}

func (a *app) keyRotate() *cobra.Command {
	p := newKeyPlan{use: "both"}
	c := &cobra.Command{
		Use: "rotate", Short: "Make new keys that take over from the present ones", Args: cobra.NoArgs,
		Long: `Make a new signing key and a new TLS key, each with a certificate of its own, and publish
them at once: the trust entry (eblnode peer self) has the old and the new ones, and so
has our JWK set. Their turn comes after --in, 7 days unless said otherwise; until then
the old ones are used. Hand the new trust entry to every peer in that time. A node that
runs takes the new keys without a restart, and nothing under way is disturbed.

A peer that has not got the new entry by then refuses what the new key signs, without a
signature; the node sends again until it has.`,
		Example: `  eblnode key rotate && eblnode peer self > us.json
  eblnode key rotate --use signing --in 14d
  eblnode key rotate --now     (the present key was stolen, or has run out)`,
		RunE: func(c *cobra.Command, _ []string) error { return a.rotate(c.Context(), &p) },
	}
	p.flags(c, "signing, tls or both")
	p.turnFlags(c)
	c.Flags().StringVar(&p.alg, "alg", "ES256", "algorithm of the signing key: ES256, ES384, ES512, PS256 …")
	p.hsmFlag(c)
	c.Flags().IntVar(&p.days, "days", 365, "how long the certificates are valid, 731 at most; the time until their turn is added")
	return c
}

func (a *app) rotate(ctx context.Context, p *newKeyPlan) error {
	uses := []keyfile.Use{keyfile.Signing, keyfile.TLS}
	if p.use != "both" {
		uses = []keyfile.Use{keyfile.Use(p.use)}
	}
	if p.use != "both" && p.use != "signing" && p.use != "tls" {
		return usage("--use %q is not signing, tls or both", p.use)
	}
	if p.use == "both" && p.hsm != "" {
		return usage("--hsm is one key: say what it is for by --use")
	}
	alg, err := identity.ParseAlg(p.alg)
	if err != nil {
		return usage("--alg: %s", err)
	}
	c, k, err := a.ownKeys()
	if err != nil {
		return err
	}
	if err := k.mayRotate(c, uses); err != nil {
		return err
	}
	now := time.Now()
	turn := p.turn(now)
	folder := filepath.Join(a.data, keysDir)
	name, err := freeName(folder, p.name, now, uses)
	if err != nil {
		return err
	}
	m, err := p.maker(c, folder)
	if err != nil {
		return err
	}
	spec := identity.CertificateSpec{Subject: k.domain.String(), Names: c.names(), NotBefore: now.Add(-time.Hour), NotAfter: turn.AddDate(0, 0, p.days)}
	var files []keyFile
	for _, use := range uses {
		algorithm := alg
		if use == keyfile.TLS {
			algorithm = identity.ES256
		}
		_, more, err := m.newKey(use, name, algorithm, spec)
		if err != nil {
			return usage("%w", err)
		}
		files = append(files, more...)
	}
	if err := writeKeys(folder, files, uses, name, keyfile.Note{From: turn, HSM: p.hsm}); err != nil {
		return err
	}
	return a.taken(ctx, fmt.Sprintf("made %s", name), name, turn)
}

// mayRotate refuses where a new key would never be used, or would be refused by peers.
func (k *keys) mayRotate(c *config, uses []keyfile.Use) error {
	for _, use := range uses {
		pinned, current := c.Keys.Signing, (*keyfile.Key)(nil)
		if use == keyfile.TLS {
			pinned, current = c.Keys.TLS, keyfile.Current(k.tls, time.Now(), "")
		} else if signs := k.signsAt(time.Now()); signs != nil {
			current = &k.signing[slices.Index(k.public, signs)]
		}
		if pinned != "" {
			return refused("keys.%s in %s names the key %q, so that no other is used; make it \"\" first", use, configFile, pinned)
		}
		if current == nil {
			continue
		}
		if leaf := current.Chain[0]; string(leaf.RawIssuer) != string(leaf.RawSubject) {
			return refused("an authority signed the certificate of the %s key %s, and peers may want that of a new one too: use eblnode key csr and eblnode key import", use, current.Name)
		}
	}
	return nil
}

// freeName is the name of a new key: the one asked for, or the date.
func freeName(folder, asked string, now time.Time, uses []keyfile.Use) (string, error) {
	taken := func(name string) bool {
		for _, use := range uses {
			for _, path := range []string{keyfile.CertificateFile(folder, use, name), keyfile.PrivateFile(folder, use, name)} {
				if _, err := os.Lstat(path); err == nil {
					return true
				}
			}
		}
		return false
	}
	if asked != "" {
		if err := keyfile.CheckName(asked); err != nil {
			return "", usage("--name: %s", err)
		}
		if taken(asked) {
			return "", refused("there is a key %s already, and a name is never given twice", asked)
		}
		return asked, nil
	}
	base := now.UTC().Format(time.DateOnly)
	for i := 2; ; i++ {
		if !taken(base) {
			return base, nil
		}
		base = now.UTC().Format(time.DateOnly) + "-" + strconv.Itoa(i)
	}
}

// writeKeys puts new keys into the folder, each certificate last: a node that reads the
// folder in between sees no key without its turn.
func writeKeys(folder string, files []keyFile, uses []keyfile.Use, name string, note keyfile.Note) error {
	for _, use := range uses {
		if err := keyfile.WriteNote(folder, use, name, note); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := writeNew(filepath.Join(folder, f.name), f.text); err != nil {
			return err
		}
	}
	return nil
}

// taken has a running node take the keys, and says what comes next.
func (a *app) taken(ctx context.Context, what, name string, turn time.Time) error {
	c, k, err := a.ownKeys()
	if err != nil {
		return err
	}
	self, err := c.self(k)
	if err != nil {
		return err
	}
	running, err := a.tellNode(ctx)
	if err != nil {
		return err
	}
	out := map[string]any{"name": name, "from": turn, "fingerprint": self.Fingerprint(), "running": running}
	return a.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "%s\n", what)
		if turn.After(time.Now()) {
			fmt.Fprintf(w, "its turn comes at %s; until then the present key is used\n", turn.Format(time.RFC3339))
		} else {
			fmt.Fprintln(w, "it is used from now on: peers without the new trust entry refuse it until they have that")
		}
		fmt.Fprintf(w, "fingerprint of our trust entry: %s\n", self.Fingerprint())
		fmt.Fprintln(w, "next: eblnode peer self   (hand it to every peer, who adds it in place of the old one)")
	})
}

// tellNode has the node that runs on the data folder, if one does, read its keys again.
func (a *app) tellNode(ctx context.Context) (running bool, err error) {
	r, running := dialAdmin(a.data)
	if !running {
		return false, nil
	}
	var entry api.EntryView
	return true, r.call(ctx, http.MethodPost, "/admin/v1/reload", []byte("{}"), &entry)
}
