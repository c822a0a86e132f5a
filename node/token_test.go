package node_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

func TestSpentTokensGoWhenTheyAreOver(t *testing.T) {
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	p := ebltest.New(t).Platform("a.example", ebltest.Manual(), ebltest.Configure(func(c *node.Config) { c.Now = now }))
	spend := func(owner, id string, fresh bool) {
		t.Helper()
		got, err := p.Node().Spend(t.Context(), owner, id, now().Add(5*time.Minute))
		if err != nil || got != fresh {
			t.Errorf("%s %s: got fresh %t (%v), want %t", owner, id, got, err, fresh)
		}
	}
	count := func() int {
		db := snapshot(t, p)
		defer release(t, db)
		return len(queryRows(t, db, "SELECT * FROM spent_tokens"))
	}
	for i := range 20 {
		spend("a", fmt.Sprint(i), true)
	}
	spend("a", "1", false)
	spend("b", "1", true) // another's of the same name
	ahead.Store(int64(time.Hour))
	spend("a", "1", false) // over, and still refused: the clock may have been wrong
	ahead.Store(int64(2 * time.Hour))
	for i := range 3 {
		spend("c", fmt.Sprint(i), true)
	}
	if got := count(); got != 3 {
		t.Errorf("got %d rows, want the 3 that are not over", got)
	}
	p.Restart()
	spend("c", "0", false)
	checkNode(t, p)
}

// An assertion is signed with ES256 or PS256, whatever envelopes are signed with.
func TestAlgorithmsOfAssertions(t *testing.T) {
	w := ebltest.New(t)
	for alg, want := range map[identity.Alg]string{identity.ES256: "ES256", identity.PS256: "PS256", identity.ES384: ""} {
		p := w.Platform(strings.ToLower(string(alg))+".example", ebltest.Manual(), ebltest.WithAlg(alg))
		s, err := p.Node().SignToken(envelope.TypAssertion, map[string]any{"iss": "x"})
		if (err == nil) != (want != "") {
			t.Errorf("%s: got %v", alg, err)
			continue
		}
		if err != nil {
			continue
		}
		j, err := envelope.ParseJWT(s)
		if err != nil || string(j.Header.Alg) != want || j.Header.Typ != envelope.TypAssertion {
			t.Errorf("%s: got %+v (%v), want %s", alg, j.Header, err, want)
		}
		if _, err := j.Verify(p.Entry, time.Now(), false); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
	rsa := w.Platform("rsa.example", ebltest.Manual(), ebltest.WithAlg(identity.RS256), ebltest.WithEntry(func(p *identity.Platform) { p.Keys[0].Alg = "" }))
	s, err := rsa.Node().SignToken(envelope.TypAssertion, map[string]any{"iss": "x"})
	if err != nil {
		t.Fatal(err)
	}
	if j, err := envelope.ParseJWT(s); err != nil || j.Header.Alg != identity.PS256 {
		t.Errorf("RSA: got %+v (%v), want PS256", j.Header, err)
	}
}
