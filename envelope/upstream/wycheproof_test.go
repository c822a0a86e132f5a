// Package upstream holds our verification of signatures against test vectors of others.
// It is a module of its own, since the vectors are a download of 26 MB that nobody else
// needs: cd envelope/upstream && go test .
package upstream

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"

	"github.com/c2sp/wycheproof"
)

type file struct {
	Groups []group `json:"testGroups"`
}

type group struct {
	Comment   string          `json:"comment"`
	Public    json.RawMessage `json:"public"`  // of the JSON files: a JWK or a set
	Private   json.RawMessage `json:"private"` // there too
	PublicJWK json.RawMessage `json:"publicKeyJwk"`
	KeyJWK    json.RawMessage `json:"keyJwk"`
	PublicPEM string          `json:"publicKeyPem"`
	KeySize   int             `json:"keySize"`
	SHA       string          `json:"sha"`
	MGF       string          `json:"mgf"`
	MGFSHA    string          `json:"mgfSha"`
	SaltLen   int             `json:"sLen"`
	Tests     []vector        `json:"tests"`
}

type vector struct {
	ID      int      `json:"tcId"`
	Comment string   `json:"comment"`
	Flags   []string `json:"flags"`
	Result  string   `json:"result"`
	JWS     any      `json:"jws"` // a string, or the JSON serialisation
	Msg     string   `json:"msg"`
	Sig     string   `json:"sig"`
}

func read(t *testing.T, name string) file {
	t.Helper()
	text, err := fs.ReadFile(wycheproof.TestVectors, name)
	if err != nil {
		t.Fatal(err)
	}
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// trusting is a platform that has these keys (a JWK, or a set of them), or the reason why no
// trust entry may hold them.
func trusting(keys json.RawMessage) (*identity.Platform, error) {
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(keys, &set); err == nil && set.Keys == nil {
		keys = json.RawMessage(fmt.Sprintf(`{"keys":[%s]}`, keys))
	}
	ps, err := identity.ParseTrust([]byte(fmt.Sprintf(`{"domain":"signer.example","keys":%s,"quirks":{"bareKey":true}}`, keys)))
	if err != nil {
		return nil, err
	}
	return ps[0], nil
}

var at = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// TestJWS runs the JOSE vectors through the way an envelope goes: trust entry, strict
// parser, verification. Nothing invalid passes. What is valid and refused is of a kind
// that we refuse on purpose.
func TestJWS(t *testing.T) {
	for name, want := range map[string]struct{ accepted, stricter, of int }{
		"json_web_signature_test.json": {26, 20, 401},
		"json_web_crypto_test.json":    {2, 4, 83},
		"json_web_key_test.json":       {1, 4, 26},
	} {
		t.Run(name, func(t *testing.T) {
			accepted, stricter, of := 0, 0, 0
			for _, g := range read(t, name).Groups {
				keys := g.Public
				if keys == nil {
					keys = g.Private // symmetric: no trust entry takes one
				}
				p, keyErr := trusting(keys)
				for _, v := range g.Tests {
					of++
					err := keyErr
					if err == nil {
						err = verify(v, p)
					}
					id := fmt.Sprintf("%d (%s, %s)", v.ID, g.Comment, v.Comment)
					switch {
					case err == nil && v.Result == "valid":
						accepted++
					case err == nil && slices.Contains(v.Flags, "Roca"), err == nil && strings.Contains(v.Comment, "Roca"):
						t.Logf("%s: a key with the ROCA weakness is not recognised", id)
					case err == nil:
						t.Errorf("%s: accepted, but it is %s", id, v.Result)
					case v.Result == "valid":
						stricter++
						if !onPurpose(err) {
							t.Errorf("%s: refused, but it is valid: %v", id, err)
						}
					}
				}
			}
			if got := [3]int{accepted, stricter, of}; got != [3]int{want.accepted, want.stricter, want.of} {
				t.Errorf("accepted, refused though valid, all: got %v, want %v", got, want)
			}
		})
	}
}

func verify(v vector, p *identity.Platform) error {
	text, ok := v.JWS.(string)
	if !ok {
		return fmt.Errorf("the JSON serialisation")
	}
	j, err := envelope.ParseJWS(text)
	if err != nil {
		return err
	}
	_, err = j.Verify(p, at, false)
	return err
}

// onPurpose: HMAC and keys for it, keys for encryption, tokens without payload, a key whose
// alg is none (ES521) or not that of the token (figure 20 of RFC 7520).
func onPurpose(err error) bool {
	for _, reason := range []string{"a private or symmetric key", `"enc", but`, "no payload", `"ES521" is not allowed`, "alg PS384 does not fit"} {
		if strings.Contains(err.Error(), reason) {
			return true
		}
	}
	return false
}

type signatureFile struct {
	file string
	alg  identity.Alg
}

// signatureFiles are the files of bare signatures, with the algorithm that each is of.
func signatureFiles() []signatureFile {
	cases := []signatureFile{
		{"ecdsa_secp256r1_sha256_p1363_test.json", "ES256"}, {"ecdsa_secp384r1_sha384_p1363_test.json", "ES384"}, {"ecdsa_secp521r1_sha512_p1363_test.json", "ES512"},
		{"rsa_pss_2048_sha256_mgf1_32_test.json", "PS256"}, {"rsa_pss_3072_sha256_mgf1_32_test.json", "PS256"}, {"rsa_pss_4096_sha256_mgf1_32_test.json", "PS256"},
		{"rsa_pss_2048_sha384_mgf1_48_test.json", "PS384"}, {"rsa_pss_4096_sha384_mgf1_48_test.json", "PS384"}, {"rsa_pss_4096_sha512_mgf1_64_test.json", "PS512"},
	}
	for _, size := range []string{"2048", "3072", "4096", "8192"} {
		for hash, alg := range map[string]identity.Alg{"256": "RS256", "384": "RS384", "512": "RS512"} {
			if size == "3072" && hash == "384" {
				continue // there is no such file
			}
			cases = append(cases, signatureFile{"rsa_signature_" + size + "_sha" + hash + "_test.json", alg})
		}
	}
	return cases
}

// TestSignatures runs the vectors of bare signatures against the one function that looks
// at signatures, in every algorithm that we take.
func TestSignatures(t *testing.T) {
	for _, c := range signatureFiles() {
		t.Run(c.file, func(t *testing.T) {
			valid := run(t, c.file, c.alg, "valid")
			if valid < 3 {
				t.Errorf("only %d valid signatures", valid)
			}
		})
	}
}

// TestOtherSaltAndHash: what is valid under another salt length or another mask is not
// under ours.
func TestOtherSaltAndHash(t *testing.T) {
	for _, file := range []string{"rsa_pss_2048_sha256_mgf1_0_test.json", "rsa_pss_2048_sha256_mgf1sha1_20_test.json", "rsa_pss_4096_sha512_mgf1_32_test.json"} {
		t.Run(file, func(t *testing.T) {
			alg := identity.Alg("PS256")
			if strings.Contains(file, "sha512") {
				alg = "PS512"
			}
			if valid := run(t, file, alg, "none"); valid != 0 {
				t.Errorf("%d signatures with another salt are taken", valid)
			}
		})
	}
}

// run gives the number of signatures that hold; those and no others must have the result
// that is named. "acceptable" ones may go either way.
func run(t *testing.T, name string, alg identity.Alg, result string) int {
	t.Helper()
	held := 0
	for _, g := range read(t, name).Groups {
		key := keyOf(t, g)
		for _, v := range g.Tests {
			msg, err := hex.DecodeString(v.Msg)
			if err != nil {
				t.Fatal(err)
			}
			sig, err := hex.DecodeString(v.Sig)
			if err != nil {
				t.Fatal(err)
			}
			got := key.Verifies(alg, msg, sig)
			if v.Comment == "s_len changed to 32" {
				continue // of the file with salt 0: for us a good one
			}
			if got != (v.Result == result) && v.Result != "acceptable" {
				t.Errorf("%d (%s): got %t, but it is %s", v.ID, v.Comment, got, v.Result)
			}
			if got {
				held++
			}
		}
	}
	return held
}
