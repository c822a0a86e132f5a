package identity

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// A Host is a platform's name in the world, as it stands in a trust entry, in
// a platformHost and behind the @ of an identifier: a DNS name and, where one
// was given, a port. It is comparable, and always normalised: lower case, IDNA
// in ASCII form, no final dot, and no port where that was 443 (wire document,
// section 4, platformHost).
type Host struct {
	Name string // ASCII, lower case, no final dot
	Port uint16 // 0: none given, or 443
}

// The longest texts that are looked at. A DNS name has at most 253 characters in
// ASCII; longer texts would only cost us the mapping and fill our errors.
const (
	maxHostText     = 1024
	maxPlatformHost = 2048
)

// ParseHost reads "host[:port]", at most 1024 bytes. IP literals, user info,
// paths and anything that is not a DNS name are refused.
func ParseHost(s string) (Host, error) {
	if len(s) > maxHostText {
		return Host{}, fmt.Errorf("host %q: %d bytes, more than %d", clip(s), len(s), maxHostText)
	}
	name, port, err := splitPort(s)
	if err != nil {
		return Host{}, fmt.Errorf("host %q: %w", s, err)
	}
	name, err = normaliseName(name)
	if err != nil {
		return Host{}, fmt.Errorf("host %q: %w", s, err)
	}
	if port == 443 {
		port = 0
	}
	return Host{Name: name, Port: port}, nil
}

// ParsePlatformHost reads a platformHost: "host[:port]", or
// "https://host[:port][/…]" with the scheme in any case. User info, a query and
// a fragment are refused; the path is ignored, since it names nobody. At most
// 2048 bytes.
func ParsePlatformHost(s string) (Host, error) {
	if len(s) > maxPlatformHost {
		return Host{}, fmt.Errorf("platformHost %q: %d bytes, more than %d", clip(s), len(s), maxPlatformHost)
	}
	rest := s
	if i := strings.Index(s, "://"); i >= 0 {
		if !strings.EqualFold(s[:i], "https") {
			return Host{}, fmt.Errorf("platformHost %q: the scheme is not https", s)
		}
		rest = s[i+3:]
		if strings.ContainsAny(rest, "?#") {
			return Host{}, fmt.Errorf("platformHost %q: a query or fragment is not allowed", s)
		}
		rest, _, _ = strings.Cut(rest, "/")
	}
	h, err := ParseHost(rest)
	if err != nil {
		return Host{}, fmt.Errorf("platformHost: %w", err)
	}
	return h, nil
}

// String is the form that ParseHost reads back to the same Host.
func (h Host) String() string {
	if h.Port == 0 {
		return h.Name
	}
	return h.Name + ":" + strconv.Itoa(int(h.Port))
}

// IsZero reports whether h names nobody.
func (h Host) IsZero() bool { return h == Host{} }

// MarshalText is String; with UnmarshalText it lets a Host stand in JSON.
func (h Host) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText is ParseHost.
func (h *Host) UnmarshalText(b []byte) (err error) {
	*h, err = ParseHost(string(b))
	return err
}

// Covers reports whether h, as a name in a trust entry, speaks for x: the same
// name, and either h has no port (then any port is meant) or the same one.
func (h Host) Covers(x Host) bool {
	return h.Name == x.Name && (h.Port == 0 || h.Port == x.Port)
}

// overlaps reports whether some host is covered by both.
func (h Host) overlaps(o Host) bool { return h.Covers(o) || o.Covers(h) }

func splitPort(s string) (string, uint16, error) {
	name, p, found := strings.Cut(s, ":")
	if !found {
		return s, 0, nil
	}
	if p == "" || len(p) > 5 || strings.Trim(p, "0123456789") != "" || p[0] == '0' {
		return "", 0, errors.New("the port is not a number from 1 to 65535")
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, errors.New("the port is not a number from 1 to 65535")
	}
	return name, uint16(n), nil
}

// profile maps upper case and IDNA to one ASCII spelling and refuses what no
// DNS name can hold. BidiRule and the joiners are checked so that no name can
// be drawn as another one.
var profile = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckJoiners(true), idna.StrictDomainName(true), idna.VerifyDNSLength(true))

// names are texts of host names as they come in every entry, and what they are normalised.
var names cache[string, string]

func normaliseName(s string) (string, error) {
	if name, known := names.get(s); known {
		return name, nil
	}
	name, err := normalise(s)
	if err == nil {
		names.put(strings.Clone(s), name)
	}
	return name, err
}

func normalise(s string) (string, error) {
	// idna reads broken UTF-8 as U+FFFD, and lets that pass.
	if !utf8.ValidString(s) || strings.ContainsRune(s, utf8.RuneError) {
		return "", errors.New("not a DNS name: invalid UTF-8")
	}
	name, err := profile.ToASCII(strings.TrimSuffix(s, "."))
	if err != nil {
		return "", fmt.Errorf("not a DNS name: %w", err)
	}
	// MapForLookup maps full-width dots and digits, so look after mapping.
	if _, err := netip.ParseAddr(name); err == nil {
		return "", errors.New("an IP address is not a name")
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	if last == "" {
		return "", errors.New("not a DNS name: an empty label")
	}
	// A name whose last label is a number, 127.1 or 0x7f000001, is an IPv4 address
	// to many resolvers (inet_aton(3)).
	hex, isHex := strings.CutPrefix(last, "0x")
	if strings.Trim(last, "0123456789") == "" || isHex && strings.Trim(hex, "0123456789abcdef") == "" {
		return "", errors.New("an IP address is not a name")
	}
	return name, nil
}
