package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Message is one attempt to tell one receiver one thing.
type Message struct {
	URL    string
	Secret Secret
	ID     string
	Body   []byte    // JSON
	At     time.Time // now
}

// An Answer is what came of an attempt.
type Answer struct {
	// Status is the HTTP status; 0 where nobody answered.
	Status int
	// Text says it for a person; of the receiver's own words there are none in it.
	Text string
	// After is how long the receiver asked us to wait (Retry-After); 0: it did not.
	After time.Duration
}

// Delivered reports whether the receiver took the message: any 2xx, and nothing else.
func (a Answer) Delivered() bool { return a.Status >= 200 && a.Status < 300 }

// Gone reports whether the receiver wants no more messages, ever: 410.
func (a Answer) Gone() bool { return a.Status == http.StatusGone }

// Down reports whether the answer is about the receiver and not about this message, so
// that another would fare no better.
func (a Answer) Down() bool {
	switch a.Status {
	case 0, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// maxURL bounds the URL of a receiver, in bytes.
const maxURL = 2048

// CheckURL says why messages are not sent to a URL: it must be https, or http to a loopback
// address, without user info and fragment. Its query may be a secret of the receiver's, so
// the error quotes nothing of it.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case len(text) > maxURL:
		return fmt.Errorf("the URL has more than %d bytes", maxURL)
	case err != nil || u.Opaque != "" || u.Hostname() == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("the URL is not https://host/path")
	case u.User != nil:
		return errors.New("the URL has a user or a password in it; the signature is what proves us")
	case u.Fragment != "" || strings.HasSuffix(text, "#"):
		return errors.New("the URL has a fragment")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return errors.New("the URL is http and not on this machine; use https")
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("the URL is not https")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return errors.New("the URL has no such port")
		}
	}
	return nil
}

// loopback reports whether a host in a URL means this machine.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// A Config is what a Sender is made of.
type Config struct {
	// DialContext connects to receivers elsewhere. It must refuse addresses that are
	// nobody's business: a URL is only a name, and a name may point anywhere.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// Roots are whom a receiver's certificate must come from; nil: the system's.
	Roots *x509.CertPool
	// Timeout bounds one attempt; 0 means 15 s.
	Timeout time.Duration
}

// A Sender delivers messages. It is safe for concurrent use.
type Sender struct {
	client  *http.Client
	timeout time.Duration
}

// NewSender makes one. It follows no redirects, asks no proxy and reads little of an answer.
func NewSender(c Config) *Sender {
	if c.Timeout == 0 {
		c.Timeout = 15 * time.Second
	}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		if host, _, err := net.SplitHostPort(addr); err == nil && loopback(host) {
			return dialLoopback(ctx, network, addr)
		}
		if c.DialContext == nil {
			return nil, errors.New("only receivers on this machine are reached")
		}
		return c.DialContext(ctx, network, addr)
	}
	return &Sender{timeout: c.Timeout, client: &http.Client{
		Transport: &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
			DisableCompression: true, MaxIdleConnsPerHost: 4, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 16 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// dialLoopback connects on this machine and nowhere else: "localhost" is only a name too.
func dialLoopback(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 5 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		if ap, err := netip.ParseAddrPort(address); err != nil || !ap.Addr().Unmap().IsLoopback() {
			return errors.New("that is not on this machine")
		}
		return nil
	}}
	return d.DialContext(ctx, network, addr)
}

// Close lets idle connections go.
func (s *Sender) Close() { s.client.CloseIdleConnections() }

// Send makes one attempt. That nobody answered is an Answer too.
func (s *Sender) Send(ctx context.Context, m Message) Answer {
	if err := CheckURL(m.URL); err != nil {
		return Answer{Text: err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.URL, bytes.NewReader(m.Body))
	if err != nil {
		return Answer{Text: "the URL cannot be asked"}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "eblnode")
	req.Header.Set(HeaderID, m.ID)
	req.Header.Set(HeaderTimestamp, strconv.FormatInt(m.At.Unix(), 10))
	req.Header.Set(HeaderSignature, Sign(m.Secret, m.ID, m.At, m.Body))
	resp, err := s.client.Do(req)
	if err != nil {
		// Without the URL, which *url.Error would quote.
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return Answer{Text: "no answer: " + err.Error()}
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // a short answer leaves the connection usable
	return Answer{Status: resp.StatusCode, Text: strings.TrimSpace(strconv.Itoa(resp.StatusCode) + " " + http.StatusText(resp.StatusCode)),
		After: retryAfter(resp.Header.Get("Retry-After"), m.At)}
}

// maxAfter bounds what a receiver may ask.
const maxAfter = 24 * time.Hour

// retryAfter reads the header, seconds or a date.
func retryAfter(value string, now time.Time) time.Duration {
	var d time.Duration
	if n, err := strconv.ParseInt(value, 10, 32); err == nil {
		d = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxAfter)
}
