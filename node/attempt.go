package node

import (
	"context"
	"time"
)

// attemptsKept is how many attempts of one transfer are kept: the newest.
const attemptsKept = 50

// An Attempt is one time that a transfer was sent.
type Attempt struct {
	N      int       // from 1
	At     time.Time // when it began
	Answer string    // what came of it, for people; bounded
	Place  string    // where it went, how that was found, and whether DNSSEC vouched for it; "": nowhere
}

// keepAttempt stores what came of the attempt that x carries; its number is one more
// than those counted before.
func (t *tx) keepAttempt(x *transfer, answer string) error {
	number, at := x.attempts+1, x.tried
	if at == 0 {
		at = millis(t.now)
	}
	if err := t.exec("INSERT OR REPLACE INTO attempts (transfer, n, at, answer, place) VALUES (?, ?, ?, ?, ?)", x.seq, number, at, answer, x.place); err != nil {
		return err
	}
	if number <= attemptsKept {
		return nil
	}
	return t.exec("DELETE FROM attempts WHERE transfer = ? AND n <= ?", x.seq, number-attemptsKept)
}

// attempts lists the attempts kept of a transfer, oldest first.
func attempts(ctx context.Context, q querier, seq int64) ([]Attempt, error) {
	rows, err := q.QueryContext(ctx, "SELECT n, at, answer, place FROM attempts WHERE transfer = ? ORDER BY n", seq)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Attempt
	for rows.Next() {
		var a Attempt
		var at int64
		if err := rows.Scan(&a.N, &at, &a.Answer, &a.Place); err != nil {
			return nil, err
		}
		a.At = fromMillis(at)
		list = append(list, a)
	}
	return list, rows.Err()
}
