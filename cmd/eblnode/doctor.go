package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"eblnode/api"
	"eblnode/identity"
	"eblnode/internal/rights"
	"eblnode/node"

	"github.com/spf13/cobra"
)

// A finding is one thing that doctor looked at.
type finding api.Finding

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong with this node",
		Long: `Look at configuration, files, certificates, clock, listeners, DNS and disk, and say what
is wrong and how to mend it. Nothing is changed. Exit code 1 if something is an error.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var list []api.Finding
			for _, f := range a.examine(c.Context()) {
				list = append(list, api.Finding(f))
			}
			return a.report(list)
		},
	}
}

func (a *app) examine(ctx context.Context) (list []finding) {
	add := func(check, state, found, cure string) { list = append(list, finding{check, state, found, cure}) }
	c, err := loadConfig(a.data)
	if err != nil {
		add("configuration", "error", err.Error(), "mend the file; docs/OPERATIONS.md explains each value")
		return list
	}
	add("configuration", "ok", filepath.Join(a.data, configFile), "")
	list = append(list, examineFiles(a.data, c)...)
	k, err := loadKeys(a.data, c, c.access())
	if err != nil {
		add("keys", "error", err.Error(), "put the key files back, or make a new node in another folder")
		return list
	}
	now := time.Now()
	list = append(list, k.examine(now)...)
	self, err := c.self(k)
	if err != nil {
		add("trust entry", "error", err.Error(), "")
		return list
	}
	add("trust entry", "ok", "fingerprint "+self.Fingerprint(), "")
	if _, err := c.metricsToken(a.data); err != nil {
		add("metrics", "error", err.Error(), "write a token of 16 characters at least into that file, of mode 0600")
	}
	if c.Metrics.Open {
		add("metrics", "warning", "/metrics is open to everybody who reaches listen.local, also through a proxy", "set metrics.tokenFile in the place of metrics.open, if that is not what you want")
	}
	list = append(list, examineClock(a.data, now))
	list = append(list, examineListeners(ctx, a.data, c)...)
	list = append(list, examineDNS(ctx, c, self)...)
	return append(list, examineDisk(a.data))
}

// examineFiles looks who else can read or write what the node keeps. Certificates are no
// secret; who can write to the folder of the witness could put another in its place.
func examineFiles(dir string, c *config) (list []finding) {
	see := func(check func(string) error, patterns ...string) {
		for _, pattern := range patterns {
			names, _ := filepath.Glob(pattern)
			for _, name := range names {
				if err := check(name); err != nil && !errors.Is(err, os.ErrNotExist) {
					found, cure, _ := strings.Cut(err.Error(), "; run: ")
					list = append(list, finding{"files", "error", found, cure})
				}
			}
		}
	}
	witness := cmp.Or(c.witness(dir), filepath.Join(dir, node.WitnessFile))
	keys := filepath.Join(dir, keysDir)
	see(rights.Ours, dir, keys, filepath.Join(dir, "*.yaml"), filepath.Join(dir, node.DatabaseFile+"*"), filepath.Join(dir, "lock"),
		filepath.Join(keys, "*.key"), filepath.Join(keys, "*.json"), witness)
	see(rights.Unchanged, filepath.Dir(witness), filepath.Join(keys, "*.crt"))
	if len(list) == 0 {
		list = append(list, finding{"files", "ok", "the data folder is ours alone", ""})
	}
	return list
}

// examineClock compares the clock with the newest file of the node: a clock that was set
// back shows there. Without a network there is no better witness.
func examineClock(dir string, now time.Time) finding {
	info, err := os.Stat(filepath.Join(dir, node.DatabaseFile))
	if err == nil && info.ModTime().After(now.Add(time.Minute)) {
		return finding{"clock", "error", fmt.Sprintf("it says %s, but the database was written at %s", now.UTC().Format(time.RFC3339), info.ModTime().UTC().Format(time.RFC3339)),
			"set the clock; peers refuse what is dated more than 5 minutes ahead of theirs"}
	}
	return finding{"clock", "ok", now.UTC().Format(time.RFC3339), ""}
}

func examineListeners(ctx context.Context, dir string, c *config) (list []finding) {
	if r, running := dialAdmin(dir); running {
		if err := r.call(ctx, http.MethodGet, "/admin/v1/status", nil, nil); err != nil {
			return []finding{{"listeners", "error", "the node is running, but: " + err.Error(), "look at its log"}}
		}
		list = []finding{{"listeners", "ok", "the node is running", ""}}
		var out api.FindingList
		if err := r.call(ctx, http.MethodPost, "/admin/v1/peers/"+url.PathEscape(c.Domain)+"/check", []byte("{}"), &out); err != nil {
			return append(list, finding{"reached", "error", err.Error(), "look at its log"})
		}
		for _, f := range out.Findings {
			list = append(list, finding(f))
		}
		return list
	}
	for _, a := range [][2]string{{"listen.peer", c.Listen.Peer}, {"listen.local", c.Listen.Local}, {"listen.public", c.Listen.Public}} {
		if a[1] == "" {
			continue
		}
		l, err := net.Listen("tcp", a[1])
		if err != nil {
			list = append(list, finding{"listeners", "error", fmt.Sprintf("%s: %s", a[0], err), "free the address, or change " + a[0]})
			continue
		}
		_ = l.Close()
	}
	if host, _, err := net.SplitHostPort(c.Listen.Local); err == nil {
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			list = append(list, finding{"listeners", "warning", "listen.local is not loopback, and it speaks plain HTTP", "put your own TLS proxy before it"})
		}
	}
	if len(list) == 0 {
		list = append(list, finding{"listeners", "ok", "the addresses are free; the node is not running", ""})
	}
	return list
}

func examineDNS(ctx context.Context, c *config, self *identity.Platform) []finding {
	r, err := newResolver(c, nil, false)
	if err != nil {
		return []finding{{"DNS", "error", err.Error(), "mend discovery.resolvers"}}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	at, err := r.Endpoint(ctx, self.Domain, "")
	switch {
	case err == nil && self.Endpoint != "" && at.URL.String() != self.Endpoint:
		return []finding{{"DNS", "warning", fmt.Sprintf("the TXT record says %s, the configuration %s", at.URL, self.Endpoint), "publish what eblnode dns prints"}}
	case err == nil:
		return []finding{{"DNS", "ok", "peers find us at " + at.URL.String(), ""}}
	case self.Endpoint != "":
		return []finding{{"DNS", "ok", "no TXT record; peers have our endpoint in our trust entry", ""}}
	}
	return []finding{{"DNS", "warning", err.Error(), "publish what eblnode dns prints, or set endpoint"}}
}
