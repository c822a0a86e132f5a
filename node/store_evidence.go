package node

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"

	"eblnode/envelope"
	"eblnode/identity"
)

// insertEvidence keeps what the signature of a JWS was believed by; nil is nothing.
func (t *tx) insertEvidence(bill int64, jws string, ev *identity.Evidence) error {
	if ev == nil {
		return nil
	}
	var certificates, answers []byte
	for _, c := range ev.Certificates {
		sum, err := t.insertPart(c.Raw)
		if err != nil {
			return err
		}
		certificates = append(certificates, sum[:]...)
	}
	for _, a := range ev.Answers {
		sum, err := t.insertPart(a)
		if err != nil {
			return err
		}
		answers = append(answers, sum[:]...)
	}
	sum := envelope.HashOf([]byte(jws))
	return t.exec("INSERT OR IGNORE INTO evidence (jws_sum, bill, checked_at, certificates, answers) VALUES (?, ?, ?, ?, ?)",
		sum[:], bill, millis(ev.CheckedAt), orEmpty(certificates), orEmpty(answers))
}

// orEmpty: a nil slice would be stored as NULL.
func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func (t *tx) insertPart(der []byte) ([32]byte, error) {
	sum := sha256.Sum256(der)
	return sum, t.exec("INSERT OR IGNORE INTO evidence_parts (sum, der) VALUES (?, ?)", sum[:], der)
}

// A storedEvidence is a row of evidence with its parts; parts that are missing are nil.
type storedEvidence struct {
	jws       envelope.Hash
	checkedAt int64
	sums      [2][][32]byte // of certificates, of answers
	parts     [2][][]byte
}

// evidence puts the parts together again.
func (s *storedEvidence) evidence() (*identity.Evidence, error) {
	ev := &identity.Evidence{CheckedAt: fromMillis(s.checkedAt)}
	for kind, parts := range s.parts {
		for i, der := range parts {
			if sha256.Sum256(der) != s.sums[kind][i] {
				return nil, fmt.Errorf("the evidence of %s lacks the part %x, or it was changed", s.jws, s.sums[kind][i])
			}
			if kind == 1 {
				ev.Answers = append(ev.Answers, der)
				continue
			}
			c, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, fmt.Errorf("the evidence of %s: %w", s.jws, err)
			}
			ev.Certificates = append(ev.Certificates, c)
		}
	}
	return ev, nil
}

// loadEvidence reads what is kept for the signatures of bills, by the bill.
func loadEvidence(ctx context.Context, q querier, from, to int64) (map[int64][]*storedEvidence, error) {
	out := map[int64][]*storedEvidence{}
	err := each(ctx, q, "SELECT jws_sum, bill, checked_at, certificates, answers FROM evidence WHERE bill BETWEEN ? AND ?", []any{from, to},
		func(scan func(...any) error) error {
			var bill int64
			var lists [2][]byte
			s := &storedEvidence{}
			if err := scan(sqlHash{&s.jws}, &bill, &s.checkedAt, &lists[0], &lists[1]); err != nil {
				return err
			}
			for kind, list := range lists {
				for ; len(list) >= 32; list = list[32:] {
					s.sums[kind] = append(s.sums[kind], [32]byte(list))
				}
			}
			out[bill] = append(out[bill], s)
			return nil
		})
	if err != nil {
		return nil, err
	}
	for _, list := range out {
		for _, s := range list {
			for kind, sums := range s.sums {
				for _, sum := range sums {
					var der []byte
					err := q.QueryRowContext(ctx, "SELECT der FROM evidence_parts WHERE sum = ?", sum[:]).Scan(&der)
					if err != nil && !errors.Is(err, sql.ErrNoRows) {
						return nil, err
					}
					s.parts[kind] = append(s.parts[kind], der)
				}
			}
		}
	}
	return out, nil
}

// EvidenceOf is what the node kept when it believed the signatures about a bill: those of
// the chain's entries, of the answers of peers, of the carrier's verdict, each by the
// SHA-256 of the compact JWS. Where nobody had to be asked about the key, there are its
// certificates as far as it has any, and the time of the check. NotFound where the bill is
// not known.
func (n *Node) EvidenceOf(ctx context.Context, document envelope.Hash) (map[envelope.Hash]identity.Evidence, error) {
	b, err := loadBill(ctx, n.store.read, document)
	if err != nil {
		return nil, busy(err)
	}
	if b == nil {
		return nil, refuse(NotFound, "notFound", "there is no such bill here")
	}
	out := map[envelope.Hash]identity.Evidence{}
	err = n.store.snapshot(ctx, func(q querier) error {
		kept, err := loadEvidence(ctx, q, b.id, b.id)
		if err != nil {
			return err
		}
		for _, s := range kept[b.id] {
			ev, err := s.evidence()
			if err != nil {
				return err
			}
			out[s.jws] = *ev
		}
		return eachSigned(ctx, q, b.id, func(jws, key string, at int64) error {
			sum := envelope.HashOf([]byte(jws))
			if _, found := out[sum]; found {
				return nil
			}
			ev := identity.Evidence{CheckedAt: fromMillis(at)}
			if key != "" {
				ps, err := identity.ParseTrust([]byte(key))
				if err != nil || len(ps) != 1 || len(ps[0].Keys) != 1 {
					return errors.Join(fmt.Errorf("the evidence of a key of bill %s cannot be read", document), err)
				}
				ev.Certificates = ps[0].Keys[0].Certificates
			}
			out[sum] = ev
			return nil
		})
	})
	if err != nil {
		return nil, busy(err)
	}
	return out, nil
}

// eachSigned calls f for what is signed about a bill and stored: the entries with the trust
// entry of their key, and the answers that settled its transfers, and the verdict.
func eachSigned(ctx context.Context, q querier, bill int64, f func(jws, key string, at int64) error) error {
	return each(ctx, q, `SELECT e.jws, coalesce(k.entry, ''), e.stored_at FROM entries e LEFT JOIN evidence_keys k ON k.thumbprint = e.key
	    WHERE e.id >= ? AND e.id < ?
	  UNION ALL SELECT verdict, '', settled_at FROM transfers WHERE bill = ? AND verdict IS NOT NULL
	  UNION ALL SELECT verdict, '', at FROM verdicts WHERE bill = ?`, []any{bill * maxEntries, (bill + 1) * maxEntries, bill, bill},
		func(scan func(...any) error) error {
			var jws, key string
			var at int64
			if err := scan(&jws, &key, &at); err != nil {
				return err
			}
			return f(jws, key, at)
		})
}
