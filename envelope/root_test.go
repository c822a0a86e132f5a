package envelope_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

func TestRootIsWhatWasSignedAndNothingElse(t *testing.T) {
	now := time.Now()
	spec := identity.CertificateSpec{Subject: "a", NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	domain, err := identity.ParseHost("a.example")
	if err != nil {
		t.Fatal(err)
	}
	s, err := identity.GenerateSigner(domain, identity.ES256, spec)
	if err != nil {
		t.Fatal(err)
	}
	p := &identity.Platform{Domain: domain, Keys: []*identity.Key{s.Key}}
	r := envelope.Root{Platform: domain, Day: "2026-11-23", Rows: 7, Hash: envelope.HashOf([]byte("x")), Previous: envelope.HashOf([]byte("y")), Archives: []envelope.Hash{envelope.HashOf([]byte("z"))}, At: now.UTC().Truncate(time.Second)}
	good, err := envelope.SignRoot(r, s)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := envelope.OpenRoot(good, p, false); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("got %+v and %v, want %+v", got, err, r)
	}
	step, err := envelope.SignReceipt(r.Hash, s, now)
	if err != nil {
		t.Fatal(err)
	}
	later := r
	later.At = now.Add(2 * time.Hour)
	late, err := envelope.SignRoot(later, s)
	if err != nil {
		t.Fatal(err)
	}
	other := *p
	other.Domain.Name = "b.example"
	for name, c := range map[string]struct {
		jws string
		p   *identity.Platform
	}{
		"a receipt":           {step, p},
		"another platform's":  {good, &other},
		"a changed signature": {good[:len(good)-5] + strings.Map(func(c rune) rune { return map[bool]rune{true: 'B', false: 'A'}[c == 'A'] }, good[len(good)-5:len(good)-1]) + good[len(good)-1:], p},
		"an expired key":      {late, p},
		"no day":              {signRoot(t, envelope.Root{Platform: domain, Rows: 1, At: now}, s), p},
		"no rows":             {signRoot(t, envelope.Root{Platform: domain, Day: "2026-11-23", At: now}, s), p},
	} {
		if got, err := envelope.OpenRoot(c.jws, c.p, false); err == nil {
			t.Errorf("%s: got %+v, want an error", name, got)
		}
	}
	if _, err := envelope.OpenReceipt([]byte(good), r.Hash, p, now); err == nil {
		t.Error("a root passed for a receipt")
	}
}

func signRoot(t *testing.T, r envelope.Root, s *identity.Signer) string {
	t.Helper()
	jws, err := envelope.SignRoot(r, s)
	if err != nil {
		t.Fatal(err)
	}
	return jws
}
