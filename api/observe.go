package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"eblnode/api/oauth"
	"eblnode/node"

	"github.com/gin-gonic/gin"
)

// Options are common to the handlers. The zero value is usable.
type Options struct {
	Log     *slog.Logger // nil: nothing is logged
	Metrics *Metrics     // nil: nothing is counted
	// Rate and Burst bound the requests a second of one peer, user or, on the public
	// listener, address; Concurrency how many of a peer's run at once. Zero means the
	// defaults, 50, 200 and 16.
	Rate               float64
	Burst, Concurrency int
	// Tokens are asked of peers (auth: mtls+oauth2); nil: TLS alone proves them.
	Tokens *oauth.Server
	// Revoked asks at each request of a peer whether its certificate is revoked: connections
	// live longer than answers. nil: nobody is asked.
	Revoked RevocationCheck
	// MetricsToken, where it is set, opens /metrics and nothing else, beside the tokens of
	// operators and auditors. MetricsOpen opens it to everybody who reaches the listener.
	MetricsToken string
	MetricsOpen  bool
	// Version is shown to operators, never to peers.
	Version string
	// Examine looks at what lies between us and a peer; for the admin listener. nil: refused.
	Examine *Examiner
	// Reload reads our keys from their files again; for the admin listener. nil: refused.
	Reload func(ctx context.Context, actor string) error
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Rate == 0 {
		o.Rate = 50
	}
	if o.Burst == 0 {
		o.Burst = 200
	}
	if o.Concurrency == 0 {
		o.Concurrency = 16
	}
	return o
}

// An event is what the one log line of a request tells beside the request itself. It
// never holds a body, a token or a document.
type event struct {
	ref  string // providerCorrelationReference
	who  string // peer, or user
	bill string // document hash
	code node.Code
	err  error
}

const eventKey = "eblnode.event"

func eventOf(c *gin.Context) *event {
	if v, found := c.Get(eventKey); found {
		return v.(*event)
	}
	return &event{}
}

// newEngine makes gin do routing and nothing else: no redirect to a path that the caller
// did not ask for, no second spelling of a path, no trusted proxy.
func newEngine(listener string, o Options) *gin.Engine {
	g := gin.New()
	g.HandleMethodNotAllowed = true
	g.RedirectTrailingSlash, g.RedirectFixedPath, g.RemoveExtraSlash = false, false, false
	g.UseEscapedPath, g.UnescapePathValues = true, false
	_ = g.SetTrustedProxies(nil) // no error without proxies
	g.Use(observe(listener, o))
	g.NoRoute(func(c *gin.Context) { fail(c, refuse(node.NotFound, "notFound", "there is nothing at this path")) })
	g.NoMethod(func(c *gin.Context) {
		fail(c, refuse(node.BadMethod, "methodNotAllowed", "this path does not take that method; see Allow"))
	})
	return g
}

// observe is the one middleware. It refuses nothing but a request whose end is not certain:
// whatever else can refuse one is part of the protocol and stands in the handler, in the
// order of the wire document.
func observe(listener string, o Options) gin.HandlerFunc {
	return func(c *gin.Context) {
		start := time.Now()
		ev := &event{ref: newReference()}
		c.Set(eventKey, ev)
		h := c.Writer.Header()
		h.Set("API-Version", "1")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		if c.Request.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		defer func() {
			if v := recover(); v != nil {
				if v == http.ErrAbortHandler {
					panic(v)
				}
				o.Log.ErrorContext(c.Request.Context(), "a handler panicked", "ref", ev.ref, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
				if !c.Writer.Written() {
					fail(c, fmt.Errorf("panic: %v", v))
				}
			}
			record(c, listener, o, start)
		}()
		if f := framingOf(c.Request); f != nil && f.blind.Load() {
			c.Header("Connection", "close") // nothing that follows is somebody's request
			if f.bad.Load() {
				fail(c, malformed("", "the end of this request is not certain: send Content-Length once, or Transfer-Encoding: chunked, and not both"))
				return
			}
		}
		c.Next()
	}
}

func record(c *gin.Context, listener string, o Options, start time.Time) {
	ev, status, took := eventOf(c), c.Writer.Status(), time.Since(start)
	// Where there is no route, path and method are a stranger's text, and labels of it
	// would fill the memory.
	route, method := c.FullPath(), c.Request.Method
	if route == "" {
		route, method = "none", "other"
	}
	if o.Metrics != nil {
		o.Metrics.requests.WithLabelValues(listener, method, route, strconv.Itoa(status)).Inc()
		o.Metrics.seconds.WithLabelValues(listener, route).Observe(took.Seconds())
	}
	level := slog.LevelInfo
	if status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	attrs := []slog.Attr{slog.String("listener", listener), slog.String("method", method), slog.String("route", route),
		slog.Int("status", status), slog.String("ref", ev.ref), slog.Int64("ms", took.Milliseconds())}
	if ev.who != "" {
		attrs = append(attrs, slog.String("by", ev.who))
	}
	if ev.bill != "" {
		attrs = append(attrs, slog.String("bill", ev.bill))
	}
	if ev.code != 0 {
		attrs = append(attrs, slog.Int("code", int(ev.code)))
	}
	if ev.err != nil {
		attrs = append(attrs, slog.String("err", ev.err.Error()))
	}
	o.Log.LogAttrs(c.Request.Context(), level, "request", attrs...)
}

func newReference() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
