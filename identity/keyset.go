package identity

import (
	"errors"
	"fmt"
)

// MaxKeySetSize is the longest JWK set that is read, in bytes.
const MaxKeySetSize = 256 << 10

// ParseKeySet reads a JWK set (RFC 7517, section 5) that platform published, as it came
// from the network. Nothing in it is trusted by that: compare it with the trust entry, or
// have a person compare the fingerprints.
//
// The set is read as strictly as a trust file, and one bad key refuses it whole: a name or
// a key that is there twice, a private or symmetric member, a key for encryption, an alg
// that does not fit, a certificate for another key or against the policy. Keys of a kty
// that we do not know are passed over, as RFC 7517 wants. A key needs a certificate unless
// bare is set. An error begins with the JSON path.
func ParseKeySet(data []byte, platform Host, bare bool) ([]*Key, error) {
	if len(data) > MaxKeySetSize {
		return nil, fmt.Errorf("the key set has %d bytes, more than %d", len(data), MaxKeySetSize)
	}
	root, err := readJSON(data)
	if err != nil {
		return nil, err
	}
	members, ok := root.(map[string]any)
	if !ok {
		return nil, errors.New("a key set is an object")
	}
	set := newObject("", members, &err)
	list := set.list("keys")
	if !set.has("keys") {
		set.fail("keys", errors.New("missing"))
	}
	if len(list) > MaxKeys {
		set.fail("keys", fmt.Errorf("%d keys, more than %d", len(list), MaxKeys))
	}
	var keys []*Key
	for i, v := range list {
		if err != nil {
			return nil, err
		}
		jwk := newObject(element("keys", i), v, &err)
		if passOver(jwk) {
			continue
		}
		if k := readKey(jwk, platform, bare); err == nil {
			checkTwice(jwk, keys, k)
			keys = append(keys, k)
		}
	}
	if err == nil && len(keys) == 0 {
		set.fail("keys", errors.New("no key that we could use"))
	}
	if err == nil && len(keys) > 1 {
		for _, k := range keys {
			if k.ID == "" {
				set.fail("keys", errors.New("a key without kid; only a single key needs none"))
				break
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return keys, nil
}

// passOver reports a key of a kind that is not ours to judge. One with a private member
// is: whoever publishes that knows not what it does.
func passOver(jwk *object) bool {
	switch jwk.text("kty") {
	case "RSA", "EC", "oct", "":
		return false
	}
	for _, name := range privateMembers {
		if jwk.has(name) {
			return false
		}
	}
	return true
}

func checkTwice(jwk *object, keys []*Key, k *Key) {
	for _, o := range keys {
		if o.ID == k.ID {
			jwk.fail("kid", fmt.Errorf("%q names two keys", k.ID))
		}
		if o.Thumbprint() == k.Thumbprint() {
			jwk.failAt(jwk.path, fmt.Errorf("the same key as %q", o.ID))
		}
	}
}
