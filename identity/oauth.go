package identity

import "errors"

// OAuth is how a platform is named where access tokens are used. Each member may be
// empty: then the platform goes by its domain.
type OAuth struct {
	// Issuer is its authorization server: its own, or one outside that several platforms
	// share. Empty: https:// and the domain.
	Issuer string
	// Audience is what tokens for it are addressed to. Empty: https:// and the domain.
	Audience string
	// ClientID is its name as a client, of us and of an outside issuer. Empty: the domain.
	ClientID string
}

// AudienceTokenEndpoint is the quirk of clients whose assertions are addressed to the
// token endpoint and have no jti.
const AudienceTokenEndpoint = "token-endpoint"

type oauthText struct {
	Issuer   string `json:"issuer,omitempty"`
	Audience string `json:"audience,omitempty"`
	ClientID string `json:"clientId,omitempty"`
}

func readOAuth(o *object, a *OAuth) {
	o.only("issuer", "audience", "clientId")
	a.Issuer, a.Audience, a.ClientID = o.text("issuer"), o.text("audience"), o.text("clientId")
	if o.has("issuer") {
		if err := checkEndpoint(a.Issuer); err != nil {
			o.fail("issuer", err)
		}
	}
	for _, m := range [][2]string{{"audience", a.Audience}, {"clientId", a.ClientID}} {
		if err := checkToken(m[1]); o.has(m[0]) && err != nil {
			o.fail(m[0], err)
		}
	}
}

// checkToken allows what may stand in a parameter of RFC 6749 (appendix A) without a
// second spelling.
func checkToken(s string) error {
	if s == "" || len(s) > maxText {
		return errors.New("not 1 to 255 bytes")
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\' {
			return errors.New("it may hold printable ASCII without spaces, quotes and backslashes")
		}
	}
	return nil
}

func (a OAuth) text() *oauthText {
	if a == (OAuth{}) {
		return nil
	}
	t := oauthText(a)
	return &t
}
