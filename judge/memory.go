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
	trust        *identity.Trust               // that the comparisons are with
	own          map[*identity.Platform]string // its entries, as entryText
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

// comparison says whether a trust entry of a maker is the reader's own.
func (m *Memory) comparison(trust *identity.Trust, text []byte) Check {
	if m.trust != trust {
		*m = Memory{trust: trust, certificates: m.certificates}
	}
	h := envelope.HashOf(text)
	c, known := m.comparisons[h]
	if known {
		return c
	}
	c = m.compare(text)
	if m.comparisons == nil || len(m.comparisons) >= maxComparisons {
		m.comparisons = map[envelope.Hash]Check{}
	}
	m.comparisons[h] = c
	return c
}

func (m *Memory) compare(text []byte) Check {
	domain, form := entryText(text)
	if form == "" {
		return Check{"a trust entry of the maker", Info, "it cannot be read; it is not used"}
	}
	what := "the maker's trust entry for " + domain.String()
	mine, found := m.trust.Find(domain)
	if !found {
		return Check{what, Info, "you have none; it is not used"}
	}
	own, written := m.own[mine]
	if !written {
		text, _ := mine.JSON() // what cannot be written is the same as nothing
		_, own = entryText(text)
		if m.own == nil {
			m.own = map[*identity.Platform]string{}
		}
		m.own[mine] = own
	}
	if own == form {
		return Check{what, Info, "the same as yours"}
	}
	return Check{what, Info, "not the same as yours, which alone counts"}
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
