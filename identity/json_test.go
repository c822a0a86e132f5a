package identity

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
)

func TestTrustFileIsStrictJSON(t *testing.T) {
	good := string(newSample(t).text())
	deep := func(n int) string { // nested n deep in a JWK member that we do not know
		return strings.Replace(good, `"x-ours":`, `"x-deep":`+strings.Repeat("[", n)+strings.Repeat("]", n)+`,"x-ours":`, 1)
	}
	for name, text := range map[string]string{
		"sound":                       good,
		"depth 32":                    deep(28),
		"pair of surrogates":          strings.Replace(good, "BANK", `\ud83d\ude00`, 1),
		"escaped back slash before u": strings.Replace(good, "BANK", `\\ud83d`, 1),
		"x5t#S256 of the certificate": withThumb(newSample(t)),
		"white space around":          "\r\n\t " + good + " \n",
	} {
		if _, err := ParseTrust([]byte(text)); err != nil {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"nothing":                  "",
		"white space":              " ",
		"null":                     "null",
		"a string":                 `"bank.example"`,
		"a number":                 "1",
		"an array of strings":      `["bank.example"]`,
		"text after the end":       good + "x",
		"two texts":                good + good,
		"byte order mark":          "\ufeff" + good,
		"comma at the end":         strings.TrimSuffix(good, "}") + ",}",
		"comment":                  "/* x */" + good,
		"single quotes":            strings.ReplaceAll(good, `"`, `'`),
		"invalid UTF-8":            strings.Replace(good, "BANK", "\xff", 1),
		"overlong UTF-8":           strings.Replace(good, "BANK", "\xc0\xaf", 1),
		"surrogate in UTF-8":       strings.Replace(good, "BANK", "\xed\xa0\x80", 1),
		"lone high surrogate":      strings.Replace(good, "BANK", `\ud83d`, 1),
		"lone low surrogate":       strings.Replace(good, "BANK", `\ude00`, 1),
		"surrogates reversed":      strings.Replace(good, "BANK", `\ude00\ud83d`, 1),
		"high, high":               strings.Replace(good, "BANK", `\ud83d\ud83d`, 1),
		"high, then a letter":      strings.Replace(good, "BANK", `\ud83dA`, 1),
		"member twice":             strings.Replace(good, `{`, `{"issuer":false,`, 1),
		"member twice by escape":   strings.Replace(good, `{`, `{"\u0069ssuer":false,`, 1),
		"member twice, one null":   strings.Replace(good, `{`, `{"issuer":null,`, 1),
		"kid twice":                strings.Replace(good, `"kid":`, `"kid":"x","kid":`, 1),
		"unknown JWK member twice": strings.Replace(good, `"x-ours":`, `"x-ours":1,"x-ours":`, 1),
		"deep in an unknown one":   strings.Replace(good, `"x-ours":{`, `"x-ours":{"b":{"c":1,"c":2},`, 1),
		"pins twice":               strings.Replace(good, `"pins":`, `"pins":[],"pins":`, 1),
		"depth 33":                 deep(29),
		"depth a million":          strings.Repeat("[", 1_000_000),
		"platforms and domain":     strings.Replace(good, `{`, `{"platforms":[],`, 1),
		"platforms an object":      `{"platforms":{}}`,
		"Platforms":                `{"Platforms":[]}`,
		"too large":                good + strings.Repeat(" ", MaxTrustSize),
		"an empty object":          "{}",
	} {
		if ps, err := ParseTrust([]byte(text)); err == nil {
			t.Errorf("%s: got %d entries, want an error", name, len(ps))
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: the error has %d bytes", name, len(err.Error()))
		}
	}
	_, err := ParseTrust([]byte(strings.Replace(good, `"kid":`, `"kid":"x","kid":`, 1)))
	if err == nil || !strings.Contains(err.Error(), `the member "kid" stands twice`) {
		t.Errorf("got %v", err)
	}
}

func withThumb(s *sample) string {
	x := s.entry["keys"].(m)["keys"].([]any)[0].(m)
	sum := sha256.Sum256(must(base64.StdEncoding.DecodeString(x["x5c"].([]any)[0].(string))))
	x["x5t#S256"] = base64.RawURLEncoding.EncodeToString(sum[:])
	return string(s.text())
}
