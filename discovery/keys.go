package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"eblnode/identity"

	"github.com/miekg/dns"
)

// keysAttribute names the TXT record by which a platform says where strangers find its
// keys before they are peers:
//
//	bank.example. 3600 IN TXT "ebl-keys=https://keys.bank.example"
//
// Without it they look at the platform's own name, port 443.
const keysAttribute = "ebl-keys"

// maxFetch bounds one fetch with its answer: a listener that drips holds nobody up.
const maxFetch = 3 * time.Second

// A KeysPlace is where a platform publishes its keys.
type KeysPlace struct {
	// URL is https with a host and no path: the documents are below /.well-known/.
	URL *url.URL
	// Record is the TXT record that says so; "" where the platform's own name serves.
	Record string
	// AuthenticData is as at [Endpoint].
	AuthenticData bool
}

// KeysPlace finds where platform publishes its keys for strangers. Errors are of type
// [*Error]; a platform without the record has the place at its own name.
func (r *Resolver) KeysPlace(ctx context.Context, platform identity.Host) (KeysPlace, error) {
	a, _, err := r.lookup(ctx, question{platform.Name, dns.TypeTXT, true})
	switch {
	case err == nil:
		u := *a.url
		return KeysPlace{URL: &u, Record: a.record, AuthenticData: a.authentic}, nil
	case KindOf(err) == NotFound:
		return KeysPlace{URL: &url.URL{Scheme: "https", Host: platform.String()}}, nil
	}
	return KeysPlace{}, err
}

// ParseKeysTXT finds the place of the keys in the TXT records of one name, as [ParseTXT]
// finds the endpoint.
func ParseKeysTXT(records []string) (*url.URL, string, error) {
	if len(records) > maxRecords {
		return nil, "", &Error{Kind: BadRecord, Err: fmt.Errorf("%d TXT records, more than %d", len(records), maxRecords)}
	}
	var found *url.URL
	var record string
	for _, rec := range records {
		name, value, ok := strings.Cut(rec, "=")
		if !ok || !strings.EqualFold(strings.TrimSpace(name), keysAttribute) {
			continue
		}
		u, err := ParseKeysPlace(value)
		if err != nil || name != strings.TrimSpace(name) {
			return nil, "", &Error{Kind: BadRecord, Err: fmt.Errorf("TXT record %q: not %s=https://host[:port]", clip(rec), keysAttribute)}
		}
		if found != nil && found.String() != u.String() {
			return nil, "", &Error{Kind: Ambiguous, Err: fmt.Errorf("two TXT records name different places of the keys: %q and %q", clip(record), clip(rec))}
		}
		found, record = u, rec
	}
	if found == nil {
		return nil, "", &Error{Kind: NotFound, Err: errors.New("no TXT record names the place of the keys")}
	}
	return found, record, nil
}

// ParseKeysPlace reads https://host[:port], without a path.
func ParseKeysPlace(s string) (*url.URL, error) {
	if len(s) > maxRecord {
		return nil, fmt.Errorf("the place of the keys: longer than %d bytes", maxRecord)
	}
	u, port, err := parseLocation(s, true)
	if err == nil && u.Path != "" && u.Path != "/" {
		err = errors.New("a path is not allowed: the documents are below /.well-known/")
	}
	if err == nil && port != 0 && port < 1024 {
		err = fmt.Errorf("port %d belongs to another service", port)
	}
	if err != nil {
		return nil, fmt.Errorf("the place of the keys %q: %w", clip(s), err)
	}
	u.Path = ""
	return u, nil
}

// ErrNoDocument says that a place does not have the document that was asked for.
var ErrNoDocument = errors.New("there is no such document")

// Fetch reads a JSON document of at most limit bytes from another platform, in 3 s. No
// redirect is followed, and rt must be an [http.RoundTripper] that follows none and dials
// by [Resolver.DialContext].
func Fetch(ctx context.Context, rt http.RoundTripper, at string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, maxFetch)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", clip(at), err)
	}
	if req.URL.Scheme != "https" {
		return nil, fmt.Errorf("fetching %s: not https", clip(at))
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "eblnode")
	res, err := rt.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", clip(at), err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	switch {
	case res.StatusCode == http.StatusNotFound:
		err = ErrNoDocument
	case res.StatusCode >= 300 && res.StatusCode < 400:
		err = fmt.Errorf("the answer is %d, a redirect; none is followed", res.StatusCode)
	case res.StatusCode != http.StatusOK:
		err = fmt.Errorf("the answer is %d", res.StatusCode)
	case err != nil:
	case int64(len(body)) > limit:
		err = fmt.Errorf("the answer is over the limit of %d bytes", limit)
	case kind != "application/json" && !strings.HasSuffix(kind, "+json"):
		err = errors.New("the answer is not JSON")
	default:
		return body, nil
	}
	return nil, fmt.Errorf("fetching %s: %w", clip(at), err)
}
