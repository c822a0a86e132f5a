package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/rights"

	"github.com/goccy/go-yaml"
)

// configFile is the configuration in the data folder.
const configFile = "eblnode.yaml"

// A config is eblnode.yaml. Unknown keys are errors. Each value may be overridden by an
// environment variable, EBLNODE_ and the path in capitals: EBLNODE_LISTEN_PEER.
type config struct {
	Domain   string   `yaml:"domain"`
	Name     string   `yaml:"name"`
	Code     string   `yaml:"code"`
	Hosts    []string `yaml:"hosts"`
	Endpoint string   `yaml:"endpoint"`
	Issuer   bool     `yaml:"issuer"`
	Carriers []string `yaml:"carriers"`

	Listen struct {
		Peer   string `yaml:"peer"`
		Local  string `yaml:"local"`
		Public string `yaml:"public"`
	} `yaml:"listen"`

	Auth  string      `yaml:"auth"`
	OAuth oauthConfig `yaml:"oauth"`

	Keys struct {
		Signing string `yaml:"signing"`
		TLS     string `yaml:"tls"`

		PassphraseFile string `yaml:"passphraseFile"`
		PKCS11         struct {
			Module  string `yaml:"module"`
			Token   string `yaml:"token"`
			PinFile string `yaml:"pinFile"`
		} `yaml:"pkcs11"`
	} `yaml:"keys"`

	Discovery struct {
		Resolvers     []string      `yaml:"resolvers"`
		Trusted       bool          `yaml:"trusted"`
		DNSSEC        string        `yaml:"dnssec"`
		AllowNetworks []string      `yaml:"allowNetworks"`
		Timeout       time.Duration `yaml:"timeout"`
	} `yaml:"discovery"`

	OCSP struct {
		MaxAge  time.Duration `yaml:"maxAge"`
		Timeout time.Duration `yaml:"timeout"`
	} `yaml:"ocsp"`

	Limits struct {
		Body            int `yaml:"body"`
		Chain           int `yaml:"chain"`
		Transactions    int `yaml:"transactions"`
		Depth           int `yaml:"depth"`
		Members         int `yaml:"members"`
		Values          int `yaml:"values"`
		VerdictsPerHour int `yaml:"verdictsPerHour"`
		Rate            int `yaml:"rate"`
		Burst           int `yaml:"burst"`
		Concurrency     int `yaml:"concurrency"`
	} `yaml:"limits"`

	Metrics struct {
		TokenFile string `yaml:"tokenFile"`
		Open      bool   `yaml:"open"`
	} `yaml:"metrics"`

	Witness struct {
		Path string `yaml:"path"`
	} `yaml:"witness"`

	Retention struct {
		// Years after which the document of a bill that ended is deleted; 0: never.
		Years int `yaml:"years"`
	} `yaml:"retention"`

	Webhooks struct {
		Age           time.Duration `yaml:"age"`
		DisableAfter  time.Duration `yaml:"disableAfter"`
		RetryMax      time.Duration `yaml:"retryMax"`
		AllowNetworks []string      `yaml:"allowNetworks"`
	} `yaml:"webhooks"`

	Approvals struct {
		Expire time.Duration `yaml:"expire"`
	} `yaml:"approvals"`

	PartyMatch string        `yaml:"partyMatch"`
	RetryMax   time.Duration `yaml:"retryMax"`

	Log struct {
		Level  string `yaml:"level"`
		Format string `yaml:"format"`
	} `yaml:"log"`
}

// loadConfig reads the configuration of a data folder, lays the environment over it, and
// checks it.
func loadConfig(dir string) (*config, error) {
	path := filepath.Join(dir, configFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, usage("there is no %s; make a node with: eblnode init --data %s --domain DOMAIN", path, dir)
	}
	if err != nil {
		return nil, err
	}
	return parseConfig(path, text)
}

// ownConfig refuses a configuration that others can read or write: whoever can write to it
// can send bills elsewhere.
func ownConfig(dir string) error {
	err := rights.Ours(filepath.Join(dir, configFile))
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return err
	}
	return usage("%s", err)
}

// parseConfig reads what is, or will be, in the file at path.
func parseConfig(path string, text []byte) (*config, error) {
	c := &config{}
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(c); err != nil {
		return nil, usage("reading %s:\n%s", path, yaml.FormatError(err, false, true))
	}
	if err := c.overlay(os.Environ()); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, usage("reading %s: %s", path, err)
	}
	return c, nil
}

// reservedEnv are the variables that are not configuration.
var reservedEnv = map[string]bool{"EBLNODE_DATA": true, "EBLNODE_URL": true, "EBLNODE_TOKEN_FILE": true,
	"EBLNODE_KEY_PASSPHRASE": true, "EBLNODE_KEY_PASSPHRASE_FD": true, "EBLNODE_KEY_PIN": true, "EBLNODE_KEY_PIN_FD": true}

// overlay lays EBLNODE_… variables over c. One that names nothing is an error: a mistyped
// limit would silently be none.
func (c *config) overlay(environ []string) error {
	fields := map[string]reflect.Value{}
	collect(reflect.ValueOf(c).Elem(), "EBLNODE", fields)
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, "EBLNODE_") || reservedEnv[name] {
			continue
		}
		f, found := fields[name]
		if !found {
			return usage("the environment variable %s names nothing in %s", name, configFile)
		}
		if err := setField(f, value); err != nil {
			return usage("%s: %s", name, err)
		}
	}
	return nil
}

func collect(v reflect.Value, prefix string, into map[string]reflect.Value) {
	for i := range v.NumField() {
		name := prefix + "_" + strings.ToUpper(v.Type().Field(i).Tag.Get("yaml"))
		if f := v.Field(i); f.Kind() == reflect.Struct {
			collect(f, name, into)
		} else {
			into[name] = f
		}
	}
}

func setField(f reflect.Value, value string) error {
	switch f.Interface().(type) {
	case string:
		f.SetString(value)
	case bool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return errors.New("neither true nor false")
		}
		f.SetBool(b)
	case int:
		n, err := strconv.Atoi(value)
		if err != nil {
			return errors.New("not a whole number")
		}
		f.SetInt(int64(n))
	case time.Duration:
		d, err := time.ParseDuration(value)
		if err != nil {
			return errors.New("not a duration such as 15m")
		}
		f.SetInt(int64(d))
	case []string:
		f.Set(reflect.ValueOf(strings.Split(value, ",")))
	}
	return nil
}

func (c *config) check() error {
	if _, err := c.domain(); err != nil {
		return fmt.Errorf("domain: %w", err)
	}
	if len(c.Carriers) > 0 && !c.Issuer {
		return errors.New("carriers: only a platform with issuer: true has carriers")
	}
	for _, l := range [][2]string{{"listen.peer", c.Listen.Peer}, {"listen.local", c.Listen.Local}, {"listen.public", c.Listen.Public}} {
		if l[1] == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(l[1]); err != nil {
			return fmt.Errorf("%s: %q is not host:port", l[0], l[1])
		}
	}
	if c.Listen.Peer == "" || c.Listen.Local == "" {
		return errors.New("listen: peer and local are needed")
	}
	switch c.PartyMatch {
	case "", "contradict", "require":
	default:
		return fmt.Errorf("partyMatch: %q is neither contradict nor require", c.PartyMatch)
	}
	switch c.Log.Level {
	case "", "debug", "info", "warn", "error":
	default:
		return fmt.Errorf("log.level: %q is not debug, info, warn or error", c.Log.Level)
	}
	switch c.Log.Format {
	case "", "text", "json":
	default:
		return fmt.Errorf("log.format: %q is neither text nor json", c.Log.Format)
	}
	if c.Limits.Rate < 0 || c.Limits.Burst < 0 || c.Limits.Concurrency < 0 {
		return errors.New("limits: rate, burst or concurrency is negative")
	}
	if err := c.checkTokens(); err != nil {
		return err
	}
	if c.Metrics.Open && c.Metrics.TokenFile != "" {
		return errors.New("metrics: open is without a token; leave out it or tokenFile")
	}
	if e := c.Approvals.Expire; e < 0 || e > 0 && e < time.Minute {
		return errors.New("approvals.expire: an order waits for a minute at least")
	}
	if c.OCSP.MaxAge < 0 || c.OCSP.Timeout < 0 {
		return errors.New("ocsp: a duration is negative")
	}
	if c.Webhooks.Age < 0 || c.Webhooks.DisableAfter < 0 || c.Webhooks.RetryMax < 0 {
		return errors.New("webhooks: a duration is negative")
	}
	_, err := c.networks(true)
	return err
}

// witness is the path of the journal; a relative one is below the data folder.
func (c *config) witness(dir string) string {
	if path := c.Witness.Path; path != "" && !filepath.IsAbs(path) {
		return filepath.Join(dir, path)
	}
	return c.Witness.Path
}

func (c *config) domain() (identity.Host, error) { return identity.ParseHost(c.Domain) }

// networks are those that may be dialled although they are not public: for peers, and with
// backEnds for the receivers of webhooks, which are often on a private network where no peer is to
// be looked for.
func (c *config) networks(backEnds bool) ([]netip.Prefix, error) {
	var list []netip.Prefix
	add := func(name string, texts []string) error {
		for _, s := range texts {
			p, err := netip.ParsePrefix(s)
			if err != nil {
				return fmt.Errorf("%s: %q is not a network such as 10.0.0.0/8", name, s)
			}
			list = append(list, p)
		}
		return nil
	}
	err := add("discovery.allowNetworks", c.Discovery.AllowNetworks)
	if err == nil && backEnds {
		err = add("webhooks.allowNetworks", c.Webhooks.AllowNetworks)
	}
	return list, err
}

func (c *config) limits() envelope.Limits {
	return envelope.Limits{Body: c.Limits.Body, Chain: c.Limits.Chain, Transactions: c.Limits.Transactions, Depth: c.Limits.Depth, Members: c.Limits.Members, Values: c.Limits.Values}
}

// names are the DNS names of our certificates.
func (c *config) names() []string {
	var list []string
	for _, s := range append([]string{c.Domain}, c.Hosts...) {
		if h, err := identity.ParseHost(s); err == nil && !slices.Contains(list, h.Name) {
			list = append(list, h.Name)
		}
	}
	return list
}

// self is our own trust entry, the one that peers hold of us.
func (c *config) self(k *keys) (*identity.Platform, error) {
	domain, err := c.domain()
	if err != nil {
		return nil, err
	}
	p := &identity.Platform{
		Domain: domain, Name: c.Name, Code: c.Code, Endpoint: c.Endpoint, Mode: "pinned",
		Issuer: c.Issuer, Carriers: c.Carriers, Keys: k.public,
		TLS:   identity.TLSIdentity{Pins: k.pins(time.Now())},
		OAuth: c.OAuth.entry(),
	}
	for _, s := range c.Hosts {
		h, err := identity.ParseHost(s)
		if err != nil {
			return nil, fmt.Errorf("hosts: %w", err)
		}
		p.Hosts = append(p.Hosts, h)
	}
	// Peers will parse it; a mistake is better found here.
	text, err := p.JSON()
	if err != nil {
		return nil, err
	}
	ps, err := identity.ParseTrust(text)
	if err != nil {
		return nil, fmt.Errorf("our own trust entry: %w", err)
	}
	return ps[0], nil
}
