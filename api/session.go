package api

import (
	"bytes"
	"crypto/tls"
	"sync"
)

// sessions keeps the TLS sessions of a client with one peer, so that a new connection
// costs less. A session stands for the certificate that it was opened with: with another
// one of ours it would show the old one on, so they go with it.
type sessions struct {
	source CertificateSource

	mu    sync.Mutex
	leaf  []byte
	cache tls.ClientSessionCache
}

// maxSessions is how many are kept for a peer; each serves one connection.
const maxSessions = 32

// current is the cache of the certificate in use; nil where there is none.
func (s *sessions) current() tls.ClientSessionCache {
	c, err := s.source()
	if err != nil || len(c.Certificate) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cache == nil || !bytes.Equal(s.leaf, c.Certificate[0]) {
		s.leaf, s.cache = c.Certificate[0], tls.NewLRUClientSessionCache(maxSessions)
	}
	return s.cache
}

// forget drops all sessions. One stands for the server's certificate too: where that is not
// believed any more, only a new handshake shows whether the server has another by now.
func (s *sessions) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaf, s.cache = nil, nil
}

// Get is the ClientSessionCache's.
func (s *sessions) Get(key string) (*tls.ClientSessionState, bool) {
	if c := s.current(); c != nil {
		return c.Get(key)
	}
	return nil, false
}

// Put is the ClientSessionCache's.
func (s *sessions) Put(key string, state *tls.ClientSessionState) {
	if c := s.current(); c != nil {
		c.Put(key, state)
	}
}
