package envelope

import (
	"strconv"
	"time"

	"eblnode/identity"
)

// TypRoot is the typ of a root of an audit log.
const TypRoot = "eblnode-root+jws"

// A Root is a platform's signature over its audit log as it stood at the end of a day. A
// copy of it elsewhere proves later that no row before it was changed since.
type Root struct {
	Platform identity.Host
	Day      string // UTC, "2026-11-23"
	Rows     int64  // the number of the newest row
	Hash     Hash   // of that row, and so of all before it
	Previous Hash   // HashOf the root before; zero for the first
	// Archives are the lists of files of the archives made since the root before.
	Archives []Hash
	At       time.Time // when it was signed, in seconds
}

// SignRoot signs r, as it stands at r.At.
func SignRoot(r Root, s *identity.Signer) (string, error) {
	m := map[string]any{
		"platform": r.Platform.String(),
		"day":      r.Day,
		"rows":     strconv.FormatInt(r.Rows, 10),
		"hash":     r.Hash.String(),
	}
	if !r.Previous.IsZero() {
		m["previous"] = r.Previous.String()
	}
	if len(r.Archives) > 0 {
		m["archives"] = r.Archives
	}
	payload, err := canonicalOf(m)
	if err != nil {
		return "", err
	}
	return sign(payload, s, TypRoot, r.At)
}

// OpenRoot verifies a root signed by p at the time that it says. held says that this very
// root lay in our own store all the time: only then a key that was reported stolen since may
// have signed it, for a thief can sign a whole history.
func OpenRoot(jws string, p *identity.Platform, held bool) (Root, error) {
	j, err := parseJWS(jws)
	if err != nil {
		return Root{}, err
	}
	if j.Header.Typ != TypRoot {
		return Root{}, malformed("typ", "$.header.typ", "not %s", TypRoot)
	}
	var w struct {
		Platform *identity.Host `json:"platform"`
		Day      string         `json:"day"`
		Rows     string         `json:"rows"`
		Hash     *Hash          `json:"hash"`
		Previous *Hash          `json:"previous"`
		Archives []Hash         `json:"archives"`
	}
	if err := decode(j.Payload, &w, 4); err != nil {
		return Root{}, err.under("$.payload")
	}
	if w.Platform == nil || w.Hash == nil {
		return Root{}, malformed("missing", "$.payload", "platform or hash is missing")
	}
	if *w.Platform != p.Domain {
		return Root{}, malformed("value", "$.payload.platform", "not the platform that should have signed")
	}
	if _, err := time.Parse(time.DateOnly, w.Day); err != nil {
		return Root{}, malformed("time", "$.payload.day", "not a date")
	}
	if err := notZero(w.Previous, "$.payload"); err != nil {
		return Root{}, err
	}
	rows, convErr := strconv.ParseInt(w.Rows, 10, 64)
	if convErr != nil || rows < 1 {
		return Root{}, malformed("value", "$.payload.rows", "not the number of a row")
	}
	if _, err := j.Verify(p, j.Header.IsAt, held); err != nil {
		return Root{}, err
	}
	r := Root{Platform: *w.Platform, Day: w.Day, Rows: rows, Hash: *w.Hash, Archives: w.Archives, At: j.Header.IsAt}
	if w.Previous != nil {
		r.Previous = *w.Previous
	}
	return r, nil
}
