package api

import (
	"crypto/x509"
	"sync"
	"time"

	"eblnode/identity"
)

// seenCerts remembers for a moment whose the certificates of the connections are, so that
// the policy is not gone through at each request. The handshake itself never asks it.
//
// An answer is good for the trust entries that it was made with and for no others, for at
// most seenFor, and never beyond the certificate's own end.
type seenCerts struct {
	mu    sync.RWMutex
	trust *identity.Trust
	m     map[*x509.Certificate]seenCert
}

type seenCert struct {
	p           *identity.Platform
	from, until time.Time
}

const (
	seenFor = 30 * time.Second
	maxSeen = 1024
)

// peer is trust.PeerByTLS(certs, now).
func (s *seenCerts) peer(trust *identity.Trust, certs []*x509.Certificate, now time.Time) (*identity.Platform, error) {
	if len(certs) == 0 {
		return trust.PeerByTLS(certs, now)
	}
	s.mu.RLock()
	c, found := s.m[certs[0]]
	found = found && s.trust == trust
	s.mu.RUnlock()
	if found && !now.Before(c.from) && now.Before(c.until) {
		return c.p, nil
	}
	p, err := trust.PeerByTLS(certs, now)
	if err != nil {
		return nil, err
	}
	until := now.Add(seenFor)
	if certs[0].NotAfter.Before(until) {
		until = certs[0].NotAfter
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trust != trust || len(s.m) >= maxSeen {
		s.trust, s.m = trust, map[*x509.Certificate]seenCert{}
	}
	s.m[certs[0]] = seenCert{p, now, until}
	return p, nil
}
