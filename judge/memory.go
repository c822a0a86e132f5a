package judge

import (
	"crypto/x509"

	"eblnode/envelope"
	"eblnode/identity"
)

// A Memory is what the files of one run have in common, worked out once: the same certificates
// and trust entries stand in every bundle that a platform made. It changes no verdict, only how
// long one takes. Everything in it goes by the SHA-256 of its bytes, and a file is only told what its
// own bytes ask for. What strangers can make it keep is bounded; beyond that all is forgotten.
//
// The zero Memory is ready. It is for one file at a time.
type Memory struct {
	trust        *identity.Trust // that the comparisons are with
	comparisons  map[envelope.Hash]Check
	certificates map[envelope.Hash]*x509.Certificate
}

// So many are kept, and of certificates those of at most so many bytes: with what is read of
// them some 10 MiB.
const (
	maxComparisons  = 1000
	maxCertificates = 500
	maxCertificate  = 4 << 10
)

// comparison is compared(trust, text).
func (m *Memory) comparison(trust *identity.Trust, text []byte) Check {
	if m.trust != trust || len(m.comparisons) >= maxComparisons {
		m.trust, m.comparisons = trust, nil
	}
	h := envelope.HashOf(text)
	c, known := m.comparisons[h]
	if known {
		return c
	}
	c = compared(trust, text)
	if m.comparisons == nil {
		m.comparisons = map[envelope.Hash]Check{}
	}
	m.comparisons[h] = c
	return c
}

// certificate reads DER of the hash h; nil where it is none.
func (m *Memory) certificate(h envelope.Hash, der []byte) *x509.Certificate {
	c, known := m.certificates[h]
	if known {
		return c
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		c = nil
	}
	if m.certificates == nil || len(m.certificates) >= maxCertificates {
		m.certificates = map[envelope.Hash]*x509.Certificate{}
	}
	if len(der) <= maxCertificate {
		m.certificates[h] = c
	}
	return c
}
