package discovery

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"eblnode/identity"

	"golang.org/x/sync/singleflight"
)

// Limits of asking a responder.
const (
	ocspTimeout   = 3 * time.Second
	ocspMaxAge    = time.Hour
	ocspPause     = 10 * time.Second // after a failure, before the next attempt
	ocspCacheSize = 10_000
	ocspAtOnce    = 8 // questions of one signature asked at the same time
)

// An OCSPConfig says how responders are asked. Resolver is required.
type OCSPConfig struct {
	// Resolver dials: a certificate names its own responder, so that address is an
	// attacker's input like any other.
	Resolver *Resolver
	// MaxAge is how long an answer serves before it is asked for again; 0 means an hour. A
	// good answer that was sent again after the certificate was revoked is believed for that
	// long at most where the responder answers, and until its nextUpdate where it does not.
	MaxAge  time.Duration
	Timeout time.Duration    // of one question; 0 means 3 s
	Now     func() time.Time // nil means time.Now
	Log     *slog.Logger     // nil means silent
}

// OCSP asks responders and keeps what they say until it has to be asked again: for MaxAge,
// and while a responder does not answer until nextUpdate. No answer is kept, or given, that
// [identity.Question.Read] does not believe. Safe for concurrent use.
type OCSP struct {
	cfg       OCSPConfig
	transport *http.Transport
	group     singleflight.Group

	mu    sync.Mutex
	order *list.List // of *ocspEntry, written longest ago first
	byKey map[[32]byte]*list.Element
	news  uint64 // how often what is kept has changed
	good  map[goodTLS]goodUntil
	told  map[identity.Host]time.Time // of whom nobody can be asked about
	stats OCSPStats
}

type ocspEntry struct {
	key     [32]byte
	der     []byte // nil: none yet
	status  identity.Status
	fetched time.Time // when the responder said so; zero for one that was stapled
	err     error     // of the newest attempt, nil if it succeeded
	retry   time.Time // not before
}

// NewOCSP makes a client of responders; it asks nothing yet.
func NewOCSP(cfg OCSPConfig) (*OCSP, error) {
	if cfg.Resolver == nil {
		return nil, errors.New("asking OCSP responders: a Resolver is required")
	}
	if cfg.MaxAge < 0 || cfg.Timeout < 0 {
		return nil, errors.New("asking OCSP responders: a duration is negative")
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = ocspMaxAge
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = ocspTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &OCSP{cfg: cfg, order: list.New(), byKey: map[[32]byte]*list.Element{}, transport: &http.Transport{
		// Proxy stays nil: one from the environment would dial unchecked.
		DialContext:            cfg.Resolver.DialContext,
		TLSHandshakeTimeout:    cfg.Timeout,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    2,
		MaxConnsPerHost:        16,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 16 << 10,
	}}, nil
}

// Close lets idle connections go.
func (o *OCSP) Close() { o.transport.CloseIdleConnections() }

// Ask gives an answer to each question, each good at this moment by all rules. The error is
// that of the first question without one: its state is unknown, and the same call may
// succeed later. For node.Config.Revocation.
func (o *OCSP) Ask(ctx context.Context, qs []identity.Question) ([][]byte, error) {
	if len(qs) > ocspAtOnce {
		return nil, fmt.Errorf("asking OCSP responders: %d questions at once", len(qs))
	}
	answers, errs := make([][]byte, len(qs)), make([]error, len(qs))
	var wait sync.WaitGroup
	for i, q := range qs {
		wait.Go(func() { answers[i], errs[i] = o.ask(ctx, q) })
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// ask answers from what is kept, if that is fresh; else it asks, once for all who want to
// know at the same time.
func (o *OCSP) ask(ctx context.Context, q identity.Question) ([]byte, error) {
	key := ocspKey(q)
	if der, err, ok := o.kept(key); ok {
		return der, err
	}
	// Who waits may give up; the question goes on, for the others and for the next.
	done := o.group.DoChan(string(key[:]), func() (any, error) {
		// A question that ended between the look above and this call has its answer already.
		if der, err, ok := o.kept(key); ok {
			return der, err
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.cfg.Timeout)
		defer cancel()
		return o.fetch(ctx, key, q)
	})
	select {
	case r := <-done:
		der, _ := r.Val.([]byte)
		return der, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func ocspKey(q identity.Question) [32]byte {
	h := sha256.New()
	h.Write([]byte(q.Responder))
	for _, raw := range [][]byte{q.Certificate.Raw, q.Issuer.Raw} {
		sum := sha256.Sum256(raw)
		h.Write(sum[:])
	}
	return [32]byte(h.Sum(nil))
}

// kept is what needs no question now: a fresh answer, or a failure of just now beside which
// an older answer may serve.
func (o *OCSP) kept(key [32]byte) (der []byte, err error, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	el := o.byKey[key]
	if el == nil {
		return nil, nil, false
	}
	e, now := el.Value.(*ocspEntry), o.cfg.Now()
	good := e.der != nil && !now.After(e.status.Until)
	switch {
	case good && now.Before(e.fetched.Add(o.cfg.MaxAge)):
		return e.der, nil, true
	case e.err != nil && now.Before(e.retry) && good:
		return e.der, nil, true
	case e.err != nil && now.Before(e.retry):
		return nil, e.err, true
	}
	return nil, nil, false
}

// fetch asks the responders, one after the other, and stores what the first one said that
// said anything. Where none does, an answer that has not ended serves on. All have the time
// of one question: one that hangs leaves its share, and no more, to those after it.
func (o *OCSP) fetch(ctx context.Context, key [32]byte, q identity.Question) ([]byte, error) {
	o.count(func(s *OCSPStats) { s.Asked++ })
	urls := append([]string{q.Responder}, q.Others...)
	var errs []error
	for i, url := range urls {
		share := ctx
		if deadline, ok := ctx.Deadline(); ok && i < len(urls)-1 {
			var cancel context.CancelFunc
			share, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(len(urls)-i))
			defer cancel()
		}
		der, err := o.post(share, q, url)
		var status identity.Status
		if err == nil {
			status, err = q.Read(der, o.cfg.Now())
		}
		o.answered(status, err)
		if err == nil {
			var kept []byte
			if kept, err = o.store(ocspEntry{key: key, der: der, status: status, fetched: o.cfg.Now()}); err == nil {
				return kept, nil
			}
		}
		err = fmt.Errorf("asking the OCSP responder %s: %w", url, err)
		o.cfg.Log.WarnContext(ctx, "an OCSP responder gave no answer that holds", "err", err)
		errs = append(errs, err)
	}
	return o.failed(key, errors.Join(errs...))
}

// post is one question to one responder. Redirects are not followed, the status must be 200,
// and reading stops at the limit.
func (o *OCSP) post(ctx context.Context, q identity.Question, url string) ([]byte, error) {
	body, err := q.Request()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/ocsp-request")
	req.Header.Set("Accept", "application/ocsp-response")
	req.Header.Set("User-Agent", "eblnode")
	// A question may be asked twice. By this, which is not sent, net/http asks over a new
	// connection where the responder closed the kept one at the very moment of its use; else
	// the state would be unknown for ocspPause, and the peer be shut out.
	req.Header["Idempotency-Key"] = []string{}
	res, err := o.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %d", res.StatusCode)
	}
	der, err := io.ReadAll(io.LimitReader(res.Body, identity.MaxOCSPAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(der) > identity.MaxOCSPAnswer {
		return nil, fmt.Errorf("its answer is over the limit of %d bytes", identity.MaxOCSPAnswer)
	}
	return der, nil
}

// errRevokedSince says that an answer is older than one that said revoked.
var errRevokedSince = errors.New("its answer is older than one by which the certificate was revoked, which has ended; only a newer one counts")

// store keeps e, unless what is kept is newer, or says revoked of the same moment: an older
// answer that is brought up again does not bring a certificate back. It gives what is kept
// then. What said revoked is held against older answers also when its own time is over, since
// those may be good for longer: then there is no answer, errRevokedSince.
func (o *OCSP) store(e ocspEntry) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if el := o.byKey[e.key]; el != nil {
		old := el.Value.(*ocspEntry)
		newer := old.status.ThisUpdate.After(e.status.ThisUpdate) || old.status.ThisUpdate.Equal(e.status.ThisUpdate) && !old.status.Good
		switch ended := o.cfg.Now().After(old.status.Until); {
		case old.der == nil || !newer:
		case !ended:
			e.der, e.status = old.der, old.status
		case !old.status.Good:
			return nil, errRevokedSince
		}
		if e.fetched.Before(old.fetched) {
			e.fetched = old.fetched
		}
	}
	o.put(&e)
	return e.der, nil
}

func (o *OCSP) failed(key [32]byte, err error) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.cfg.Now()
	e := &ocspEntry{key: key}
	if el := o.byKey[key]; el != nil {
		*e = *el.Value.(*ocspEntry)
	}
	e.err, e.retry = err, now.Add(ocspPause)
	o.put(e)
	if e.der != nil && !now.After(e.status.Until) {
		return e.der, nil
	}
	return nil, err
}

func (o *OCSP) put(e *ocspEntry) {
	o.news++
	if el := o.byKey[e.key]; el != nil {
		el.Value = e
		o.order.MoveToBack(el)
		return
	}
	o.byKey[e.key] = o.order.PushBack(e)
	for o.order.Len() > ocspCacheSize {
		oldest := o.order.Front()
		delete(o.byKey, oldest.Value.(*ocspEntry).key)
		o.order.Remove(oldest)
	}
}

// CheckTLS says whether the certificates of a connection that proves to be p's are revoked.
// An answer that the other side stapled is used where it holds, and saves the question; it
// is as good as one that was fetched, since the authority signed it. The error is an
// [*identity.RevocationError]: "unknown" is none where the entry says soft.
//
// It is called at each request of a connection, so a yes is remembered as long as everything
// that it came from stands.
func (o *OCSP) CheckTLS(ctx context.Context, p *identity.Platform, s tls.ConnectionState) error {
	key, remembered := o.remembers(p, s)
	if remembered {
		return nil
	}
	qs, err := p.TLSQuestions(s.PeerCertificates, o.cfg.Now())
	if err != nil {
		return err
	}
	if err := o.checkTLS(ctx, p, s, qs); err != nil {
		return err
	}
	if p.TLSAsksNobody(s.PeerCertificates) {
		o.tell(ctx, p)
	}
	o.remember(key, qs)
	return nil
}

func (o *OCSP) checkTLS(ctx context.Context, p *identity.Platform, s tls.ConnectionState, qs []identity.Question) error {
	if len(qs) == 0 {
		return nil
	}
	if len(s.OCSPResponse) > 0 {
		if status, err := qs[0].Read(s.OCSPResponse, o.cfg.Now()); err == nil {
			// One that is too old to be kept says nothing: the responder is asked.
			_, _ = o.store(ocspEntry{key: ocspKey(qs[0]), der: bytes.Clone(s.OCSPResponse), status: status, fetched: status.ThisUpdate})
		}
	}
	answers, err := o.Ask(ctx, qs)
	if err != nil {
		return p.TLSRevocationUnknown(err)
	}
	return p.CheckTLSRevocation(s.PeerCertificates, identity.Evidence{CheckedAt: o.cfg.Now(), Answers: answers})
}

// Staple puts an OCSP answer for our own certificate beside it, if one is to be had soon:
// peers need not ask then. c is not changed.
func (o *OCSP) Staple(ctx context.Context, c *tls.Certificate) *tls.Certificate {
	q, ok := ownQuestion(c)
	if !ok {
		return c
	}
	der, err := o.ask(ctx, q)
	if err != nil {
		return c // the peer will ask, or not
	}
	with := *c
	with.OCSPStaple = der
	return &with
}
