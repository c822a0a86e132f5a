package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"eblnode/identity"

	"github.com/spf13/cobra"
)

// Version is set at release: -ldflags "-X main.Version=1.2.3".
var Version = "dev"

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := map[string]string{"version": Version}
			if info, ok := debug.ReadBuildInfo(); ok {
				v["go"] = info.GoVersion
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						v["revision"] = s.Value
					}
				}
			}
			return a.print(v, func(w io.Writer) {
				fmt.Fprintln(w, strings.TrimSpace("eblnode "+v["version"]+" "+v["go"]+" "+v["revision"]))
			})
		},
	}
}

// initOptions are what eblnode init is told.
type initOptions struct {
	domain, name, code, endpoint string
	hosts, carriers              []string
	issuer                       bool
	peer, local                  string
	resolvers, networks          []string
}

func (a *app) initCommand() *cobra.Command {
	var o initOptions
	c := &cobra.Command{
		Use:   "init --domain DOMAIN",
		Short: "Make a node: data folder, configuration, keys",
		Long: `Make a data folder with a configuration, a signing key and a TLS key, each with a
certificate of its own, valid for one year. Nothing is overwritten.

The domain is who the platform is, for ever: it stands in every identifier and in every
signed envelope. Peers learn it, and the keys, from the trust entry that
"eblnode peer self" prints.`,
		Example: `  eblnode init --data bank --domain bank.example --endpoint https://api.bank.example:8443/v1/transferblocks
  eblnode init --data carrier --domain carrier.example --issuer --carrier MAEU`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.initNode(o) },
	}
	f := c.Flags()
	f.StringVar(&o.domain, "domain", "", "the platform's domain (needed)")
	f.StringVar(&o.name, "name", "", "its name, for people")
	f.StringVar(&o.code, "code", "", "its DCSA code")
	f.StringVar(&o.endpoint, "endpoint", "", "where peers send to; else they look it up in DNS (see: eblnode dns)")
	f.StringSliceVar(&o.hosts, "host", nil, "another host of the platform, as it may stand in a platformHost")
	f.BoolVar(&o.issuer, "issuer", false, "this platform issues bills")
	f.StringSliceVar(&o.carriers, "carrier", nil, "carrier code that it may issue for (default: any)")
	f.StringVar(&o.peer, "listen-peer", "127.0.0.1:8443", "address for peers (mTLS)")
	f.StringVar(&o.local, "listen-local", "127.0.0.1:8080", "address for local users")
	f.StringSliceVar(&o.resolvers, "resolver", nil, "DNS resolver host:port (default: the system's)")
	f.StringSliceVar(&o.networks, "allow-network", nil, "network that may be dialled although it is not public, such as 10.0.0.0/8")
	return c
}

func (a *app) initNode(o initOptions) error {
	if o.domain == "" {
		return usage("--domain is needed: who is this platform?")
	}
	domain, err := identity.ParseHost(o.domain)
	if err != nil {
		return usage("--domain: %s", err)
	}
	if len(o.carriers) > 0 {
		o.issuer = true
	}
	if domain.Name == "localhost" && len(o.networks) == 0 {
		o.networks = []string{"127.0.0.0/8", "::1/128"} // it can be nowhere else
	}
	// Nothing is written before all is known to be right: half a node is in the way of
	// the next attempt.
	path := filepath.Join(a.data, configFile)
	for _, name := range []string{path, filepath.Join(a.data, keysDir)} {
		if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
			return refused("%s is there already; nothing was changed", name)
		}
	}
	names := []string{domain.Name}
	for _, h := range o.hosts {
		host, err := identity.ParseHost(h)
		if err != nil {
			return usage("--host: %s", err)
		}
		names = append(names, host.Name)
	}
	now := time.Now()
	name := now.UTC().Format("2006-01")
	text := []byte(o.yaml(domain))
	c, err := parseConfig(path, text)
	if err != nil {
		return err
	}
	if _, err := newResolver(c, nil, false); err != nil {
		return usage("--resolver: %w", err)
	}
	files, k, err := maker{access: c.access()}.newKeys(name, domain, names)
	if err != nil {
		return err
	}
	self, err := c.self(k)
	if err != nil {
		return usage("%w", err)
	}
	if err := a.writeNode(files, path, text); err != nil {
		return err
	}
	result := map[string]string{"data": a.data, "domain": domain.String(), "config": path, "fingerprint": self.Fingerprint()}
	return a.print(result, func(w io.Writer) {
		fmt.Fprintf(w, "made the node %s in %s\n", domain, a.data)
		fmt.Fprintf(w, "fingerprint of its trust entry: %s\n", self.Fingerprint())
		fmt.Fprintf(w, "next: eblnode peer self --data %s > %s.json   (hand it to your peers)\n", a.data, strings.ReplaceAll(domain.String(), ":", "-"))
	})
}

// writeNode makes the data folder with its keys and, last, its configuration.
func (a *app) writeNode(files []keyFile, path string, config []byte) error {
	folder := filepath.Join(a.data, keysDir)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(a.data, 0o700); err != nil {
		return err
	}
	for _, f := range files {
		if err := writeNew(filepath.Join(folder, f.name), f.text); err != nil {
			return err
		}
	}
	return writeNew(path, config)
}

// yaml writes the configuration with a word on each part. Values are quoted as JSON
// strings, which YAML reads alike.
func (o initOptions) yaml(domain identity.Host) string {
	list := func(items []string) string {
		quoted := make([]string, len(items))
		for i, s := range items {
			quoted[i] = fmt.Sprintf("%q", s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	return fmt.Sprintf(`# eblnode: see docs/OPERATIONS.md. Unknown keys are errors; EBLNODE_… in the
# environment overrides (EBLNODE_LISTEN_PEER=…).

# Who we are. The domain never changes: it is in every signed envelope.
domain: %q
name: %q
code: %q
# Other hosts that may stand in a platformHost of ours. Never take one away.
hosts: %s
# Where peers send to. Empty: they find it in DNS (eblnode dns prints the record).
endpoint: %q
# Whether we issue bills, and for which carriers (empty: any).
issuer: %t
carriers: %s

listen:
  peer: %q    # peers, mutual TLS
  local: %q   # local users; keep it on loopback or behind your own TLS proxy
  public: ""  # optional: our keys for strangers, before onboarding (server TLS)

# What peers must show us: mtls (their certificate), or mtls+oauth2 (an access token too).
auth: mtls

# Files keys/signing-NAME.{key,crt} and keys/tls-NAME.{key,crt}. Whoever reads the signing
# key can sign bills away in our name. Empty: the newest key whose turn has come (eblnode
# key rotate); a name: that key alone.
keys:
  signing: ""
  tls: ""
  # File with the passphrase of encrypted keys (eblnode key encrypt); EBLNODE_KEY_PASSPHRASE
  # or, better, EBLNODE_KEY_PASSPHRASE_FD in the environment come before it.
  passphraseFile: ""
  # Keys in hardware: the vendor's PKCS #11 library, whose code runs in this process, the
  # label of the token, and a file with its PIN (or EBLNODE_KEY_PIN_FD).
  pkcs11: {module: "", token: "", pinFile: ""}

discovery:
  resolvers: %s   # host:port; empty: the system's
  trusted: false  # the way to the resolvers is trusted: their AD bit counts
  dnssec: "off"   # off, prefer or require
  allowNetworks: %s   # networks that may be dialled although not public
  timeout: 5s

# Limits on what peers send. 0: the default of the protocol. Of each peer or user by itself:
# rate is requests a second (50), burst how many may come at once after a rest (200),
# concurrency how many of a peer's run at once (16).
limits: {body: 0, chain: 0, transactions: 0, depth: 0, verdictsPerHour: 0, rate: 0, burst: 0, concurrency: 0}

# The journal of every change of control, which tells whether the database is older than
# it should be. Empty: witness.log in the data folder. Another volume is better, so that
# one broken disk does not take both. It is never restored from a backup.
witness: {path: ""}

# contradict: a transferee's codes must not contradict those registered; require: one
# must match.
partyMatch: contradict
# The longest pause between two attempts of a transfer without a verdict.
retryMax: 15m

# Who may read /metrics on listen.local: users with the role operator or auditor, and who has
# the token in this file (16 characters at least, mode 0600), which opens nothing else. open:
# everybody who reaches that listener, also through a proxy.
metrics: {tokenFile: "", open: false}

# How long an order waits for a second person (eblnode user approvers).
approvals: {expire: 24h}

# Back ends that are told of events (eblnode webhook). An event that is not taken for so
# long is given up, a receiver that takes nothing for so long is disabled. allowNetworks:
# private networks on which back ends are, such as 10.0.0.0/8; peers are not looked for there.
webhooks: {age: 72h, disableAfter: 120h, retryMax: 15m, allowNetworks: []}

log: {level: info, format: text}
`, domain.String(), o.name, o.code, list(o.hosts), o.endpoint, o.issuer, list(o.carriers), o.peer, o.local,
		list(o.resolvers), list(o.networks))
}

// keysRecord is where strangers find our keys; "" where they find none.
func (c *config) keysRecord(domain identity.Host) string {
	_, port, err := net.SplitHostPort(c.Listen.Public)
	if c.Listen.Public == "" || err != nil || port == "0" {
		return ""
	}
	if port == "443" {
		return "ebl-keys=https://" + domain.Name
	}
	return "ebl-keys=https://" + domain.Name + ":" + port
}

// dnsCommand prints the record by which peers find us.
func (a *app) dnsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "dns",
		Short: "Print the TXT records to publish",
		Long: `Print the DNS record by which peers find this node and, where listen.public is set, the one
by which strangers find its keys (eblnode peer fetch). They say where the node is, never
who: the TLS certificate and the trust entry say that.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := loadConfig(a.data)
			if err != nil {
				return err
			}
			domain, err := c.domain()
			if err != nil {
				return err
			}
			endpoint := c.Endpoint
			if endpoint == "" {
				_, port, err := net.SplitHostPort(c.Listen.Peer)
				if err != nil {
					return err
				}
				if port == "0" {
					return refused("listen.peer has port 0, so it listens on another one at each start; give it one, or set endpoint, and publish that")
				}
				endpoint = "https://" + domain.Name + ":" + port + "/v1/transferblocks"
			}
			record := "ebl-transferblock=" + endpoint
			v := map[string]string{"name": domain.Name, "type": "TXT", "value": record}
			if keys := c.keysRecord(domain); keys != "" {
				v["keys"] = keys
			}
			return a.print(v, func(w io.Writer) {
				fmt.Fprintf(w, "%s. 3600 IN TXT %q\n", domain.Name, record)
				if v["keys"] != "" {
					fmt.Fprintf(w, "%s. 3600 IN TXT %q\n", domain.Name, v["keys"])
				}
			})
		},
	}
}
