package api

import (
	"crypto/tls"
	"testing"
	"time"
)

// TestEveryServerHasTimeouts: net/http's zero means that a stranger may take for ever.
func TestEveryServerHasTimeouts(t *testing.T) {
	for _, config := range []*tls.Config{nil, {}} {
		s := NewServer(nil, config, nil, nil)
		for name, c := range map[string]struct{ got, most time.Duration }{
			"header": {s.ReadHeaderTimeout, 10 * time.Second}, "request": {s.ReadTimeout, time.Minute},
			"answer": {s.WriteTimeout, 150 * time.Second}, "idle": {s.IdleTimeout, 2 * time.Minute}, "handshake": {s.handshakeTime(), 10 * time.Second},
		} {
			if c.got <= 0 || c.got > c.most {
				t.Errorf("%s: got %s, want at most %s", name, c.got, c.most)
			}
		}
		if s.MaxHeaderBytes <= 0 || s.MaxHeaderBytes > 64<<10 || s.HTTP2.MaxConcurrentStreams <= 0 {
			t.Errorf("a header of %d bytes, %d streams", s.MaxHeaderBytes, s.HTTP2.MaxConcurrentStreams)
		}
	}
}
