package envelope

import (
	"strings"
	"testing"
	"time"

	"eblnode/identity"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// TestSignOftenSignsWhatJWXSigns: the same header and payload, to the byte, and a signature
// that jwx and we believe.
func TestSignOftenSignsWhatJWXSigns(t *testing.T) {
	s := scanSigner(t)
	p := &identity.Platform{Domain: s.Key.Platform, Keys: []*identity.Key{s.Key}}
	for range 50 { // r and s have leading zeros now and then
		for _, iat := range []time.Time{{}, time.Unix(1767225600, 0)} {
			raw, err := sign([]byte("payload"), s, TypReceipt, iat)
			if err != nil {
				t.Fatal(err)
			}
			h := jws.NewHeaders()
			for name, v := range map[string]any{jws.KeyIDKey: s.Key.ID, jws.TypeKey: TypReceipt, "iat": iat.Unix()} {
				if name == "iat" && iat.IsZero() {
					continue
				}
				if err := h.Set(name, v); err != nil {
					t.Fatal(err)
				}
			}
			want, err := jws.Sign([]byte("payload"), jws.WithKey(jwa.ES256, s.Private(), jws.WithProtectedHeaders(h)))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := raw[:strings.LastIndexByte(raw, '.')], string(want[:strings.LastIndexByte(string(want), '.')]); got != want {
				t.Fatalf("got %s, want %s", got, want)
			}
			if _, err := jws.Verify([]byte(raw), jws.WithKey(jwa.ES256, s.Key.Public)); err != nil {
				t.Errorf("jwx: %v", err)
			}
			j, err := ParseJWS(raw)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := j.Verify(p, time.Now(), false); err != nil {
				t.Error(err)
			}
		}
	}
}

func BenchmarkSignReceipt(b *testing.B) {
	s := scanSigner(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := SignReceipt(Hash{}, s, time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}
