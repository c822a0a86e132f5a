package envelope_test

import (
	"errors"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// The payload of the examples of RFC 7515, appendix A.
const (
	joePayload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	joe        = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}"
)

func TestRFC7515Examples(t *testing.T) {
	for _, c := range []struct{ name, jwk, jws string }{
		{"A.2 RS256", `{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}`,
			"eyJhbGciOiJSUzI1NiJ9." + joePayload + ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"},
		{"A.3 ES256", `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`,
			"eyJhbGciOiJFUzI1NiJ9." + joePayload + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ps, err := identity.ParseTrust([]byte(`{"domain":"joe.example","keys":{"keys":[` + c.jwk + `]},"quirks":{"bareKey":true}}`))
			if err != nil {
				t.Fatal(err)
			}
			j, err := envelope.ParseJWS(c.jws)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(j.Payload); got != joe {
				t.Errorf("payload: got %q, want %q", got, joe)
			}
			at := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
			if k, err := j.Verify(ps[0], at, false); err != nil || k != ps[0].Keys[0] {
				t.Errorf("signature: got %v, %v, want the key of the example", k, err)
			}
			// The claims of Joe are no envelope, however well they are signed.
			if _, err := envelope.ParseEntry(c.jws, envelope.Limits{}); err == nil {
				t.Error("as an envelope: got no error")
			}
		})
	}
}

func TestRFC7515ExamplesRefused(t *testing.T) {
	for name, s := range map[string]string{
		"A.1 HMAC":             "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + joePayload + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
		"A.5 unsecured":        "eyJhbGciOiJub25lIn0." + joePayload + ".",
		"A.5 with a signature": "eyJhbGciOiJub25lIn0." + joePayload + ".DtEh",
		"A.6 general JSON":     `{"payload":"` + joePayload + `","signatures":[{"protected":"eyJhbGciOiJSUzI1NiJ9","header":{"kid":"2010-12-29"},"signature":"cC4h"}]}`,
		"A.7 flattened JSON":   `{"payload":"` + joePayload + `","protected":"eyJhbGciOiJFUzI1NiJ9","header":{"kid":"e9bc097a-ce51-4036-9562-d2ade882db0d"},"signature":"DtEh"}`,
		"appendix F, detached": "eyJhbGciOiJFUzI1NiJ9..DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
	} {
		_, err := envelope.ParseJWS(s)
		if _, ok := errors.AsType[*envelope.FormatError](err); !ok {
			t.Errorf("%s: got %v, want malformed", name, err)
		}
	}
}
