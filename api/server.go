package api

import (
	"bytes"
	"crypto/tls"
	"log"
	"log/slog"
	"net/http"
	"slices"
	"time"
)

// The time-outs of every listener, so that nobody holds a connection by sending slowly.
const (
	headerTime = 10 * time.Second // of a handshake, and of a request's header
	readTime   = 60 * time.Second // of a whole request
	writeTime  = 150 * time.Second
	idleTime   = 120 * time.Second
)

// A Server is an http.Server that looks at its connections before it serves them; see
// [ConnLimits] and [NewServer]. Only its own ServeTLS and Serve do.
type Server struct {
	*http.Server
	conns *conns
	m     *Metrics
}

// NewServer is a server with the limits that every listener has: nobody holds a
// connection by sending slowly, and no request of HTTP/1 is served whose end could be seen
// at two places. The caller sets Addr or brings a net.Listener, and calls
// ServeTLS(l, "", "") where config is set, Serve where it is nil. log and m may be nil.
func NewServer(h http.Handler, config *tls.Config, log *slog.Logger, m *Metrics) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	if config != nil {
		protocols.SetHTTP2(slices.Contains(config.NextProtos, "h2"))
	}
	return &Server{conns: &conns{}, m: m, Server: &http.Server{
		Handler:     h,
		TLSConfig:   config,
		Protocols:   &protocols,
		ConnContext: withFraming,
		// No more at once than a peer may have running anyway.
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 64, MaxReadFrameSize: 64 << 10},
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       readTime,
		WriteTimeout:      writeTime, // an order may wait a minute for its peer
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          errorLog(log, m),
	}}
}

func errorLog(l *slog.Logger, m *Metrics) *log.Logger {
	return log.New(serverLog{l, m}, "", 0)
}

// serverLog turns net/http's lines into records, and counts handshakes that failed: the
// only trace that a stranger's certificate leaves.
type serverLog struct {
	log *slog.Logger
	m   *Metrics
}

func (w serverLog) Write(line []byte) (int, error) {
	text := clip(string(bytes.TrimSpace(line)), 500)
	if bytes.HasPrefix(line, []byte(handshakeError)) {
		if w.m != nil {
			w.m.handshakes.Inc()
		}
		w.log.Warn("a TLS handshake failed", "err", text)
	} else {
		w.log.Warn("http", "err", text)
	}
	return len(line), nil
}
