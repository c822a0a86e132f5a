package oauth

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

	"eblnode/discovery"

	"github.com/go-json-experiment/json"
)

const (
	// maxAnswer bounds what an authorization server can make us read, in bytes.
	maxAnswer = 256 << 10
	// fetchTimeout bounds one request with its answer.
	fetchTimeout = 10 * time.Second
)

// An errNone says that there is no such document.
type errNone struct{ error }

// NoMetadata says that an authorization server publishes no metadata, so that nobody can
// tell where its tokens are to be had. It is for whoever runs that server to mend, or for
// who wrote its name into a trust entry.
type NoMetadata struct {
	Issuer string
	Places []string // where they were looked for
}

func (e *NoMetadata) Error() string {
	return fmt.Sprintf("looking for the metadata of %s: there are none at %s (404)", e.Issuer, strings.Join(e.Places, " or "))
}

// ask makes one request and reads its answer: 200 and JSON, or an error. No redirect is
// followed, since RoundTrip follows none. No part of the request is in the error.
func ask(ctx context.Context, rt http.RoundTripper, method, at string, form url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	var content io.Reader
	if form != nil {
		content = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, at, content)
	if err != nil {
		return nil, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "eblnode")
	res, err := rt.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); {
	case err != nil:
		return nil, err
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("the answer is over the limit of %d bytes", maxAnswer)
	case res.StatusCode == http.StatusNotFound:
		return nil, errNone{errors.New("the answer is 404")}
	case res.StatusCode >= 300 && res.StatusCode < 400:
		return nil, fmt.Errorf("the answer is %d, a redirect; none is followed", res.StatusCode)
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the answer is %d%s", res.StatusCode, said(body))
	case kind != "application/json" && !strings.HasSuffix(kind, "+json"):
		return nil, errors.New("the answer is not JSON")
	}
	return body, nil
}

// said is what an OAuth error says, made fit to be shown.
func said(body []byte) string {
	var e struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &e) != nil || e.Error == "" {
		return ""
	}
	// A server that quotes our assertion must not get it into our log.
	if strings.Contains(e.Description, "eyJ") {
		e.Description = ""
	}
	text := " " + quotable(e.Error)
	if e.Description != "" {
		text += ": " + quotable(e.Description)
	}
	return text[:min(len(text), 300)]
}

// discover reads the metadata of the authorization server issuer at one of the places, in
// their order. They must be issuer's own: a server whose metadata name another is refused
// whole (RFC 8414, section 3.3), and so is a token endpoint or a key set without https.
// Where there are none at all the error is a *NoMetadata.
func discover(ctx context.Context, rt http.RoundTripper, issuer string, places ...string) (*Metadata, error) {
	for _, at := range places {
		body, err := ask(ctx, rt, http.MethodGet, at, nil)
		if _, absent := errors.AsType[errNone](err); absent {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", at, err)
		}
		m := &Metadata{}
		if err := json.Unmarshal(body, m); err != nil {
			return nil, fmt.Errorf("reading %s: not the metadata of an authorization server", at)
		}
		if m.Issuer != issuer {
			return nil, fmt.Errorf("reading %s: the metadata are those of another issuer, %q, and not of %q", at, clip(m.Issuer), issuer)
		}
		for _, u := range []string{m.TokenEndpoint, m.JWKS} {
			if u == "" {
				continue
			}
			if _, err := discovery.ParseEndpoint(u); err != nil {
				return nil, fmt.Errorf("reading %s: %w", at, err)
			}
		}
		return m, nil
	}
	return nil, &NoMetadata{issuer, places}
}

// wellKnown are the places of an issuer's metadata: where OpenID Connect puts them, and
// where RFC 8414 does.
func wellKnown(issuer string) []string {
	u, err := url.Parse(issuer)
	if err != nil {
		return []string{issuer}
	}
	base, path := u.Scheme+"://"+u.Host, strings.TrimSuffix(u.Path, "/")
	return []string{base + path + "/.well-known/openid-configuration", base + "/.well-known/oauth-authorization-server" + path}
}

// clip shortens what somebody else chose before it goes into an error.
func clip(s string) string {
	s = quotable(s)
	return s[:min(len(s), 100)]
}
