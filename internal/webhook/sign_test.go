package webhook

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

func secretOf(t testing.TB, text string) Secret {
	t.Helper()
	s, err := ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSignVectors: the signatures were computed with OpenSSL, over id.timestamp.body.
func TestSignVectors(t *testing.T) {
	const counting = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	for _, v := range []struct {
		secret, id string
		at         int64
		body, want string
	}{
		{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, `{"test": 2432232314}`, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
		{counting, "msg_1", 1674087231, `{"test": 2432232314}`, "v1,hiSfYKchzkhTeg8BCiooMdjDn0ct8IPJUznfEFWq7Ao="},
		{counting, "msg_1", 1674087231, `{"type":"contact.created","timestamp":"2022-11-03T20:26:10.344522Z","data":{"id":"1f81eb52"}}`, "v1,p1Comr/LrMT1XBS3GBdV/JOM9NBN4aKW3wZodz4ike0="},
		{counting, "msg_1", 1674087231, "", "v1,bPliVtB0MLG213Q2iYE7zuqn1dAa7nIwP3oRxrNlbhU="},
	} {
		if got := Sign(secretOf(t, v.secret), v.id, time.Unix(v.at, 999), []byte(v.body)); got != v.want {
			t.Errorf("%s over %q: got %s, want %s", v.id, v.body, got, v.want)
		}
	}
}

// signed are the headers of a message at a time.
func signed(s Secret, id string, at time.Time, body string) http.Header {
	return http.Header{HeaderID: {id}, HeaderTimestamp: {strconv.FormatInt(at.Unix(), 10)}, HeaderSignature: {Sign(s, id, at, []byte(body))}}
}

func TestForgedMessagesAreNoticed(t *testing.T) {
	s, other := NewSecret(), NewSecret()
	now := time.Unix(1_700_000_000, 0)
	const body = `{"type":"bill.received"}`
	if err := Verify(s, signed(s, "a1", now, body), []byte(body), now); err != nil {
		t.Fatalf("a true message: %v", err)
	}
	two := signed(s, "a1", now, body)
	two.Set(HeaderSignature, "v1a,AAAA v1,bm90aGluZw== "+two.Get(HeaderSignature))
	if err := Verify(s, two, []byte(body), now); err != nil {
		t.Errorf("a true signature among others: %v", err)
	}
	with := func(name, value string) http.Header {
		h := signed(s, "a1", now, body)
		h.Set(name, value)
		return h
	}
	good := signed(s, "a1", now, body).Get(HeaderSignature)
	for name, h := range map[string]http.Header{
		"another secret":      signed(other, "a1", now, body),
		"another id":          with(HeaderID, "a2"),
		"another time":        with(HeaderTimestamp, strconv.FormatInt(now.Unix()+1, 10)),
		"moved dot":           with(HeaderID, "a1."+strconv.FormatInt(now.Unix(), 10)),
		"no id":               with(HeaderID, ""),
		"no time":             with(HeaderTimestamp, ""),
		"no signature":        with(HeaderSignature, ""),
		"another version":     with(HeaderSignature, "v2"+strings.TrimPrefix(good, "v1")),
		"cut off":             with(HeaderSignature, good[:len(good)-4]),
		"no version":          with(HeaderSignature, strings.TrimPrefix(good, "v1,")),
		"an empty mac":        with(HeaderSignature, "v1,"),
		"replayed":            signed(s, "a1", now.Add(-Tolerance-time.Second), body),
		"from the future":     signed(s, "a1", now.Add(Tolerance+time.Second), body),
		"time of another age": with(HeaderTimestamp, "99999999999999999999"),
	} {
		if err := Verify(s, h, []byte(body), now); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	for i := range len(body) {
		changed := []byte(body)
		changed[i] ^= 1
		if err := Verify(s, signed(s, "a1", now, body), changed, now); err == nil {
			t.Errorf("byte %d of the body changed: got no error", i)
		}
	}
	if err := Verify(Secret{}, signed(Secret{}, "a1", now, body), []byte(body), now); err == nil {
		t.Error("no secret at all: got no error")
	}
}

func TestSecrets(t *testing.T) {
	for i := range 3 {
		text := NewSecret().Reveal()
		if got := secretOf(t, text).Reveal(); got != text {
			t.Errorf("%d: got %q after reading it, want the same", i, got)
		}
	}
	const key = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	for _, bad := range []string{"", "whsec_", key, "WHSEC_" + key, "whsec_" + key + "=", " whsec_" + key, "whsec_" + key + "\n", "whsec_" + key[:16] + "\n" + key[16:],
		"whsec_" + key[:28], "whsec_" + strings.Repeat("A", 88), "whpk_" + key, "whsec_" + key[:31] + "*"} {
		if _, err := ParseSecret(bad); err == nil {
			t.Errorf("%q: got no error", bad)
		} else if strings.Contains(err.Error(), "MfKQ") {
			t.Errorf("%q: the error quotes it: %v", bad, err)
		}
	}
	s := secretOf(t, "whsec_"+key)
	for _, format := range []string{"%v", "%s", "%+v", "%#v", "%q"} {
		for _, v := range []any{s, Message{Secret: s}, &Message{Secret: s}} {
			if got := fmt.Sprintf(format, v); strings.Contains(got, "MfKQ") || strings.Contains(got, "0x31") {
				t.Errorf("%s of %T prints the secret: %s", format, v, got)
			}
		}
	}
}
