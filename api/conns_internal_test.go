package api

import "testing"

// TestAddressOf: a customer of a network gets a /64 of IPv6, with more addresses than there
// could be limits for.
func TestAddressOf(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7:1":                  "192.0.2.7",
		"[::ffff:192.0.2.7]:1":         "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:1":     "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::1]:65535": "2001:db8:1:2::/64",
		"[2001:db8:1:3::1]:1":          "2001:db8:1:3::/64",
		"[fe80::1%eth0]:1":             "fe80::/64",
		"@":                            "",
		"pipe":                         "",
	} {
		if got := addressOf(text); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}
