// Package discovery finds a peer on the network: where its transferblock
// endpoint is, and a connection to it that cannot be turned against our own
// network.
//
// An endpoint configured for the peer wins. Otherwise the TXT records of the
// platform domain say it (wire document, section 9), in the form that we publish
//
//	bank.example. 3600 IN TXT "ebl-transferblock=https://api.bank.example:8443/v1/transferblocks"
//
// or in the bare form of 2022, host[:port]/…/v1/transferblock, with or without
// the final s and https:// before it. Any other TXT record is ignored; one that
// looks like ours and is not well formed is refused, since guessing what was
// meant could send a bill astray.
//
// DNS says where a peer is, never who it is. Whoever dials an endpoint found
// here checks the server's TLS identity against the trust entry before it sends
// one byte.
//
// A platform chooses its own records, so both the endpoint and its addresses
// are an attacker's input. [Resolver.DialContext] therefore looks at the address
// of each connection at the moment it is made, and refuses what is not public:
// a check made any earlier can be undone by the next DNS answer.
package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"eblnode/identity"

	"github.com/miekg/dns"
)

// An Endpoint is where a platform takes transferblocks, and how we know.
type Endpoint struct {
	// URL is normalised: https, host in lower-case ASCII without final dot, no
	// port where that is 443. The caller may change it.
	URL    *url.URL
	Source Source
	// AuthenticData says that a resolver the operator trusts vouched, by its AD
	// bit, for every answer that led here. False for a configured endpoint.
	AuthenticData bool
	// Record is the TXT record, or the configured text, as it was written.
	Record string
	// Expires is when DNS is asked again; zero for a configured endpoint.
	Expires time.Time
	// Stale says that Expires has passed and DNS does not answer, so that an
	// answer up to 24 h older serves on.
	Stale bool
}

// A Source says where an endpoint was found.
type Source uint8

// The sources, in order of precedence.
const (
	Configured Source = iota + 1 // in the trust entry of the peer
	TXT                          // in the TXT records of its domain
)

// String is "configured" or "txt".
func (s Source) String() string {
	switch s {
	case Configured:
		return "configured"
	case TXT:
		return "txt"
	}
	return "Source(" + strconv.Itoa(int(s)) + ")"
}

// A Kind classifies an [Error] by what the caller can do next.
type Kind uint8

// The kinds. The set is closed.
const (
	// NotFound: DNS answered, and has no such record or name. The peer must
	// publish one, or an endpoint must be configured.
	NotFound Kind = iota + 1
	// Ambiguous: two records name different endpoints. The peer must remove one.
	Ambiguous
	// BadRecord: what was published or configured is malformed, too large, or a
	// loop of CNAMEs. It must be corrected where it was written.
	BadRecord
	// Temporary: no resolver gave an answer, or no address could be connected.
	// The same call may succeed later.
	Temporary
	// Insecure: DNSSEC is required and the answer was not authenticated.
	Insecure
	// Forbidden: every address of the name is one that we must not dial.
	Forbidden
)

// String names the kind, in the spelling of the wire's reasons.
func (k Kind) String() string {
	switch k {
	case NotFound:
		return "notFound"
	case Ambiguous:
		return "ambiguous"
	case BadRecord:
		return "badRecord"
	case Temporary:
		return "temporary"
	case Insecure:
		return "insecure"
	case Forbidden:
		return "forbidden"
	}
	return "Kind(" + strconv.Itoa(int(k)) + ")"
}

// An Error is the only error type that this package's lookups and dials return.
type Error struct {
	Kind Kind
	Name string // the DNS name or address asked about; empty from a pure parser
	Err  error
}

// Error names the lookup, the kind and the cause.
func (e *Error) Error() string {
	if e.Name == "" {
		return e.Kind.String() + ": " + e.Err.Error()
	}
	return "finding " + e.Name + ": " + e.Kind.String() + ": " + e.Err.Error()
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of the [Error] in err's tree, or 0 if there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

// Limits of a lookup. They bound what a hostile zone or resolver can cost us.
const (
	defaultTimeout  = 5 * time.Second
	maxExchange     = 2 * time.Second // one question to one resolver
	minTTL          = 30 * time.Second
	maxTTL          = 24 * time.Hour
	maxNegativeTTL  = 5 * time.Minute
	failureTTL      = 5 * time.Second // how long a failure is remembered
	maxStale        = 24 * time.Hour  // past its TTL, while DNS fails
	maxCacheEntries = 10_000
	maxCNAMEs       = 8
	maxAddrs        = 16 // of one name and family
	maxDial         = 5 * time.Second
	slowFamily      = 300 * time.Millisecond // what IPv6 gets when IPv4 has answered
)

// A Config says how to ask DNS and what may be dialled. The zero value is
// usable: the machine's resolvers, DNSSEC off, public addresses only.
type Config struct {
	// Resolvers are asked in order: "host:port", "ip" or "ip:port" (port 53 if
	// absent). Empty means those of /etc/resolv.conf, read once. One that was
	// silent is asked last for the next 30 s.
	Resolvers []string
	// Trusted declares that the path to all of the resolvers is safe (loopback,
	// say): only then does their AD bit mean anything.
	Trusted bool
	// DNSSEC is "off" (also ""), "prefer" (ask for it, and record it) or
	// "require" (TXT answers without it are refused; needs Trusted). Addresses
	// are not held to it: the zone of a host is often not the peer's, and TLS
	// says who answers there.
	DNSSEC string
	// AllowNetworks may be dialled although they are not public.
	AllowNetworks []netip.Prefix
	// Timeout bounds one whole lookup with all its retries; 0 means 5 s. A
	// single exchange is at most 2 s, and never so long that a later resolver
	// would not get its turn.
	Timeout time.Duration
	Now     func() time.Time // the clock of the cache; nil means time.Now
	Log     *slog.Logger     // nil means silent
}

// New makes a Resolver. Its errors are errors of configuration; it asks nothing.
func New(cfg Config) (*Resolver, error) {
	r := &Resolver{now: cfg.Now, log: cfg.Log, timeout: cfg.Timeout, cache: newCache()}
	switch cfg.DNSSEC {
	case "", "off":
	case "prefer", "require":
		r.dnssec = true
		r.require = cfg.DNSSEC == "require"
	default:
		return nil, fmt.Errorf("configuring discovery: dnssec %q is not off, prefer or require", cfg.DNSSEC)
	}
	if r.require && !cfg.Trusted {
		return nil, errors.New("configuring discovery: dnssec is required, but the resolvers are not declared trusted")
	}
	r.trusted = cfg.Trusted
	if r.now == nil {
		r.now = time.Now
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.timeout < 0 {
		return nil, fmt.Errorf("configuring discovery: the time-out %v is negative", r.timeout)
	}
	if r.timeout == 0 {
		r.timeout = defaultTimeout
	}
	var err error
	if r.allow, err = allowList(cfg.AllowNetworks); err != nil {
		return nil, fmt.Errorf("configuring discovery: %w", err)
	}
	addrs := cfg.Resolvers
	if len(addrs) == 0 {
		if addrs, err = systemResolvers("/etc/resolv.conf"); err != nil {
			return nil, fmt.Errorf("configuring discovery: %w", err)
		}
	}
	for _, a := range addrs {
		addr, err := resolverAddr(a)
		if err != nil {
			return nil, fmt.Errorf("configuring discovery: %w", err)
		}
		r.servers = append(r.servers, &server{addr: addr})
	}
	r.exchangeTime = min(maxExchange, r.timeout/time.Duration(len(r.servers)))
	return r, nil
}

// systemResolvers reads the nameserver lines only. Search lists are left out on
// purpose: a peer's name is absolute, and must not be completed by a local domain.
func systemResolvers(path string) ([]string, error) {
	c, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(c.Servers) == 0 {
		return nil, fmt.Errorf("reading %s: no nameserver", path)
	}
	return c.Servers, nil
}

func resolverAddr(s string) (string, error) {
	if ip, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return net.JoinHostPort(ip.String(), "53"), nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", fmt.Errorf("resolver %q: %w", s, err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
		return "", fmt.Errorf("resolver %q is not host:port", s)
	}
	return net.JoinHostPort(host, port), nil
}

// Endpoint finds where platform takes transferblocks. A configured endpoint, if
// not empty, wins and DNS is not asked. The port of platform plays no part: TXT
// records belong to a name. Errors are of type [*Error]; a bill may wait for
// Temporary, everything else needs somebody to act. Ask again before each
// attempt to send: the cache makes that cheap, and an endpoint may move.
func (r *Resolver) Endpoint(ctx context.Context, platform identity.Host, configured string) (Endpoint, error) {
	if configured != "" {
		u, err := ParseEndpoint(configured)
		if err != nil {
			return Endpoint{}, &Error{Kind: BadRecord, Name: platform.Name, Err: err}
		}
		return Endpoint{URL: u, Source: Configured, Record: configured}, nil
	}
	if platform.IsZero() {
		return Endpoint{}, &Error{Kind: BadRecord, Err: errors.New("no platform is named")}
	}
	a, stale, err := r.lookup(ctx, question{platform.Name, dns.TypeTXT, false})
	if err != nil {
		return Endpoint{}, err
	}
	u := *a.url // the cache keeps its own
	return Endpoint{URL: &u, Source: TXT, AuthenticData: a.authentic, Record: a.record, Expires: a.expires, Stale: stale}, nil
}
