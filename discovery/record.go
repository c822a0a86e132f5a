package discovery

import (
	"errors"
	"fmt"
	"net/url"
	"sort"
	"strings"

	"eblnode/identity"
)

const (
	attribute  = "ebl-transferblock"
	pathPlural = "/v1/transferblocks"
	pathSingle = "/v1/transferblock"

	maxRecord  = 4 << 10 // bytes of one TXT record, its strings joined
	maxRecords = 64
)

// ParseEndpoint reads a configured endpoint: an https URL with a DNS name, no IP
// literal, no user info, query or fragment. Without a path it is
// /v1/transferblocks (wire document, sections 1 and 9). The path may hold
// letters, digits and -._~ only, since any escape would be a second spelling.
func ParseEndpoint(s string) (*url.URL, error) {
	if len(s) > maxRecord {
		return nil, fmt.Errorf("endpoint: longer than %d bytes", maxRecord)
	}
	u, _, err := parseLocation(s, true)
	if err != nil {
		return nil, fmt.Errorf("endpoint %q: %w", clip(s), err)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = pathPlural
	}
	return u, nil
}

// ParseTXT finds the endpoint in the TXT records of one name (wire document,
// section 9, point 2). Each element is one record, its strings joined and
// unescaped. It returns the endpoint and the record that names it, and depends
// on the set of records only, not on their order. Errors are of type [*Error]:
// NotFound, Ambiguous or BadRecord.
func ParseTXT(records []string) (*url.URL, string, error) {
	if len(records) > maxRecords {
		return nil, "", &Error{Kind: BadRecord, Err: fmt.Errorf("%d TXT records, more than %d", len(records), maxRecords)}
	}
	var prefixed, bare []string
	for _, rec := range records {
		if len(rec) > maxRecord {
			return nil, "", &Error{Kind: BadRecord, Err: fmt.Errorf("a TXT record of %d bytes, more than %d", len(rec), maxRecord)}
		}
		switch classify(rec) {
		case formPrefixed:
			prefixed = append(prefixed, rec)
		case formBare:
			bare = append(bare, rec)
		}
	}
	switch {
	case len(prefixed) > 0:
		return choose(prefixed, formPrefixed)
	case len(bare) > 0:
		return choose(bare, formBare)
	}
	return nil, "", &Error{Kind: NotFound, Err: errors.New("no TXT record names a transferblock endpoint")}
}

type form uint8

const (
	formOther form = iota
	formPrefixed
	formBare
)

// classify says what rec means to be. It is generous, so that a record with a
// slip in it is refused by the strict parser and not passed over in silence.
func classify(rec string) form {
	text := strings.TrimSpace(rec)
	end := 0
	for end < len(text) && isNameByte(text[end]) {
		end++
	}
	name, rest := text[:end], text[end:]
	if strings.EqualFold(name, attribute) {
		return formPrefixed
	}
	// Another attribute, of whatever standard, says nothing about ours.
	if name != "" && strings.HasPrefix(rest, "=") {
		return formOther
	}
	if strings.HasSuffix(text, pathPlural) || strings.HasSuffix(text, pathSingle) {
		return formBare
	}
	return formOther
}

func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.'
}

// choose parses records of one form, all of which must be well formed and mean
// the same place.
func choose(records []string, f form) (*url.URL, string, error) {
	sort.Strings(records)
	var best *url.URL
	var record, seen string
	for _, rec := range records {
		u, err := parseRecord(rec, f)
		if err != nil {
			return nil, "", &Error{Kind: BadRecord, Err: fmt.Errorf("TXT record %q: %w", clip(rec), err)}
		}
		place := u.String()
		if f == formBare {
			place = strings.TrimSuffix(place, "s") // 2022 writes the path both ways
		}
		if best != nil && place != seen {
			return nil, "", &Error{Kind: Ambiguous, Err: fmt.Errorf("two TXT records name different endpoints: %q and %q", clip(record), clip(rec))}
		}
		if best == nil || strings.HasSuffix(u.Path, "s") && !strings.HasSuffix(best.Path, "s") {
			best, record = u, rec
		}
		seen = place
	}
	return best, record, nil
}

func parseRecord(rec string, f form) (*url.URL, error) {
	value := rec
	if f == formPrefixed {
		name, v, found := strings.Cut(rec, "=")
		if !found || !strings.EqualFold(name, attribute) {
			return nil, fmt.Errorf("not %s=URL", attribute)
		}
		value = v
	}
	u, port, err := parseLocation(value, f == formPrefixed)
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(u.Path, pathPlural) && !strings.HasSuffix(u.Path, pathSingle) {
		return nil, fmt.Errorf("the path does not end in %s", pathPlural)
	}
	// A record is a stranger's: it must not point our TLS client at somebody's
	// mail or shell server. A configured endpoint is the operator's own word.
	if port != 0 && port < 1024 {
		return nil, fmt.Errorf("port %d belongs to another service", port)
	}
	return u, nil
}

// parseLocation reads [https://]host[:port][/path] and normalises it. The port
// is 0 for 443. It does not go through url.Parse, which forgives much: what is
// accepted here has one reading.
func parseLocation(s string, needScheme bool) (*url.URL, uint16, error) {
	rest := s
	scheme, after, found := strings.Cut(s, "://")
	switch {
	case found && !strings.EqualFold(scheme, "https"):
		return nil, 0, errors.New("the scheme is not https")
	case found:
		rest = after
	case needScheme:
		return nil, 0, errors.New("https:// is missing")
	}
	authority, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	if strings.Contains(authority, "@") {
		return nil, 0, errors.New("user info is not allowed")
	}
	if strings.ContainsAny(rest, "?#") {
		return nil, 0, errors.New("a query or fragment is not allowed")
	}
	h, err := identity.ParseHost(authority)
	if err != nil {
		return nil, 0, err
	}
	if err := checkPath(path); err != nil {
		return nil, 0, err
	}
	return &url.URL{Scheme: "https", Host: h.String(), Path: path}, h.Port, nil
}

func checkPath(path string) error {
	if path == "" || path == "/" {
		return nil
	}
	for _, segment := range strings.Split(path[1:], "/") {
		if segment == "" || segment == "." || segment == ".." {
			return errors.New("the path has an empty or dot segment")
		}
		for i := 0; i < len(segment); i++ {
			if c := segment[i]; !isNameByte(c) && c != '~' {
				return fmt.Errorf("the path has the byte %q", c)
			}
		}
	}
	return nil
}

// clip keeps a stranger's text short in our errors and logs.
func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}
