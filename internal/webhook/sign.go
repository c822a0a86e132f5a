// Package webhook tells back ends over HTTP what happened, in the scheme of Standard
// Webhooks (www.standardwebhooks.com): a POST with three headers,
//
//	webhook-id: the message's name, the same at each attempt
//	webhook-timestamp: seconds since 1970, of this attempt
//	webhook-signature: v1,BASE64(HMAC-SHA256(secret, id + "." + timestamp + "." + body))
//
// The receiver computes the signature with the secret that it shares, refuses an old
// timestamp, and leaves out an id that it knows: a message may come more than once.
//
// The package keeps nothing: what is due, and what came of it, is its caller's.
package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a message.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

// Tolerance is how far a message's timestamp may be from the receiver's clock.
const Tolerance = 5 * time.Minute

// A Secret is a key that we share with a receiver. Its text, whsec_ and base64, is only
// for who keeps it: a Secret prints as nothing, so that none ends up in a log.
type Secret struct{ key []byte }

const secretPrefix = "whsec_"

// The scheme's bounds of a key, in bytes.
const (
	keyLeast = 24
	keyMost  = 64
)

// ParseSecret reads a secret: whsec_ and 24 to 64 bytes in base64. The error does not
// quote it.
func ParseSecret(text string) (Secret, error) {
	coded, found := strings.CutPrefix(text, secretPrefix)
	if !found {
		return Secret{}, errors.New("a secret is whsec_ and a key in base64; this does not begin so")
	}
	key, err := base64.StdEncoding.Strict().DecodeString(coded)
	if err != nil || strings.ContainsAny(coded, "\r\n") { // which base64 passes over
		return Secret{}, errors.New("a secret is whsec_ and a key in base64; this is no base64")
	}
	if len(key) < keyLeast || len(key) > keyMost {
		return Secret{}, fmt.Errorf("the key of a secret has %d to %d bytes; this has %d", keyLeast, keyMost, len(key))
	}
	return Secret{key}, nil
}

// NewSecret makes a secret of 32 random bytes.
func NewSecret() Secret {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return Secret{key}
}

// Reveal is the secret's text.
func (s Secret) Reveal() string { return secretPrefix + base64.StdEncoding.EncodeToString(s.key) }

// String hides the secret.
func (Secret) String() string { return "whsec_(hidden)" }

// GoString hides the secret.
func (Secret) GoString() string { return "webhook.Secret{}" }

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return len(s.key) == 0 }

// Sign is the value of webhook-signature. id must have no dot, or another pair of id and
// body could have the same signature; our own ids are hexadecimal.
func Sign(s Secret, id string, at time.Time, body []byte) string {
	return "v1," + base64.StdEncoding.EncodeToString(mac(s, id, strconv.FormatInt(at.Unix(), 10), body))
}

func mac(s Secret, id, timestamp string, body []byte) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte(id + "." + timestamp + "."))
	h.Write(body)
	return h.Sum(nil)
}

// Verify is the receiver's side: whether one signature of the header is ours over this id,
// timestamp and body, and the timestamp near now. There may be several, each with
// its version, while a secret is being changed. What to do about an id that was there
// before is the caller's.
func Verify(s Secret, h http.Header, body []byte, now time.Time) error {
	id, timestamp := h.Get(HeaderID), h.Get(HeaderTimestamp)
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if id == "" || err != nil || s.IsZero() {
		return errors.New("the headers of a webhook are not there")
	}
	want := mac(s, id, timestamp, body)
	for given := range strings.FieldsSeq(h.Get(HeaderSignature)) {
		version, coded, _ := strings.Cut(given, ",")
		got, err := base64.StdEncoding.DecodeString(coded)
		if version != "v1" || err != nil || !hmac.Equal(got, want) {
			continue
		}
		if age := now.Sub(time.Unix(seconds, 0)); age > Tolerance || age < -Tolerance {
			return fmt.Errorf("the signature is from another time: %s ago", age.Round(time.Second))
		}
		return nil
	}
	return errors.New("no signature is the one of this message")
}
