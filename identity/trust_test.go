package identity

import (
	"crypto/elliptic"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// entry is a small trust entry with one new key.
func entry(t testing.TB, domain string, hosts ...string) *Platform {
	t.Helper()
	p := &Platform{Domain: host(t, domain), Mode: ModePinned, Keys: []*Key{newSigner(t, domain, ES256).Key}}
	for _, h := range hosts {
		p.Hosts = append(p.Hosts, host(t, h))
	}
	return p
}

func TestFindAndName(t *testing.T) {
	a := entry(t, "a.example", "api.a.example:8443", "old-a.example")
	b := entry(t, "b.example:8443", "shared.example:1")
	c := entry(t, "c.example", "shared.example:2", "b.example:9443")
	trust, err := NewTrust(c, a, b)
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]*Platform{
		"a.example": a, "a.example:1234": a, "A.Example.:443": a, "old-a.example:7": a, "api.a.example:8443": a,
		"api.a.example": nil, "api.a.example:443": nil, "x.a.example": nil, "example": nil,
		"b.example:8443": b, "b.example": nil, "b.example:9443": c, "shared.example:1": b, "shared.example:2": c, "shared.example:3": nil,
		"evil.example": nil,
	} {
		h := host(t, in)
		got, ok := trust.Find(h)
		if got != want || ok != (want != nil) {
			t.Errorf("Find(%s): got %v, %v", in, got, ok)
		}
		name := h
		if want != nil {
			name = want.Domain
		}
		if got := trust.Name(h); got != name {
			t.Errorf("Name(%s): got %v, want %v", in, got, name)
		}
		for _, p := range []*Platform{a, b, c} {
			if got := p.Owns(h); got != (p == want) {
				t.Errorf("%s owns %s: got %v", p.Domain, in, got)
			}
		}
	}
	if got := trust.Platforms(); !reflect.DeepEqual(got, []*Platform{a, b, c}) {
		t.Errorf("not sorted by domain: got %v", got)
	}
	trust.Platforms()[0] = nil
	if trust.Platforms()[0] != a {
		t.Error("the caller's slice is ours")
	}
}

func TestNobodyIsTrustedByDefault(t *testing.T) {
	empty, err := NewTrust()
	if err != nil {
		t.Fatal(err)
	}
	leaf := selfSign(t, ecKey(t, elliptic.P256()), nil)
	for name, trust := range map[string]*Trust{"nil": nil, "zero": {}, "empty": empty} {
		if p, ok := trust.Find(Host{Name: "a.example"}); ok || p != nil {
			t.Errorf("%s: Find got %v", name, p)
		}
		if p, ok := trust.Find(Host{}); ok || p != nil {
			t.Errorf("%s: Find of nobody got %v", name, p)
		}
		if got := trust.Name(Host{Name: "a.example"}); got.Name != "a.example" {
			t.Errorf("%s: Name got %v", name, got)
		}
		if got := trust.Platforms(); len(got) != 0 {
			t.Errorf("%s: Platforms got %v", name, got)
		}
		if p, err := trust.PeerByTLS(certs(leaf), day0); err == nil {
			t.Errorf("%s: PeerByTLS got %v", name, p)
		}
	}
}

func TestNewTrustRefusesWhatNamesTwoPlatforms(t *testing.T) {
	a := entry(t, "a.example", "api.a.example:8443")
	pinned := func(domain string, pin byte) *Platform {
		p := entry(t, domain)
		p.TLS.Pins = [][32]byte{{pin}}
		return p
	}
	sameKey := entry(t, "b.example")
	stolen := *a.Keys[0]
	stolen.ID, stolen.Platform = "other", sameKey.Domain
	sameKey.Keys = append(sameKey.Keys, &stolen)
	foreign := entry(t, "b.example")
	foreign.Keys = append(foreign.Keys, newSigner(t, "c.example", ES256).Key)
	noKey, nilKey := entry(t, "b.example"), entry(t, "b.example")
	noKey.Keys[0] = &Key{ID: "x", Platform: noKey.Domain}
	nilKey.Keys[0] = nil
	for name, c := range map[string]struct {
		ps   []*Platform
		want string // "" for none
	}{
		"two domains":                 {[]*Platform{a, entry(t, "b.example", "api.a.example:9443")}, ""},
		"two pins":                    {[]*Platform{pinned("x.example", 1), pinned("y.example", 2)}, ""},
		"one entry with a host twice": {[]*Platform{entry(t, "b.example", "b.example:1", "b.example")}, ""},
		"the same domain":             {[]*Platform{a, entry(t, "a.example")}, "two entries for a.example"},
		"the same entry twice":        {[]*Platform{a, a}, "two entries for a.example"},
		"domain at a port":            {[]*Platform{a, entry(t, "a.example:8443")}, "a.example"},
		"host is a domain":            {[]*Platform{a, entry(t, "b.example", "a.example")}, "a.example"},
		"host is a domain at a port":  {[]*Platform{a, entry(t, "b.example", "a.example:1")}, "a.example"},
		"the same host and port":      {[]*Platform{a, entry(t, "b.example", "api.a.example:8443")}, "api.a.example"},
		"the same host at every port": {[]*Platform{a, entry(t, "b.example", "api.a.example")}, "api.a.example"},
		"the same pin":                {[]*Platform{pinned("x.example", 1), pinned("y.example", 1)}, "the same TLS pin"},
		"the same key":                {[]*Platform{a, sameKey}, "also a key of"},
		"key of another platform":     {[]*Platform{foreign}, "says that it belongs to"},
		"key that is none":            {[]*Platform{noKey}, "certificate policy"},
		"key nil":                     {[]*Platform{nilKey}, "nil"},
		"entry nil":                   {[]*Platform{nil}, "without domain"},
		"entry without domain":        {[]*Platform{{}}, "without domain"},
	} {
		trust, err := NewTrust(c.ps...)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: got %v", name, err)
			}
			continue
		}
		if err == nil || trust != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want …%s…", name, err, c.want)
		}
	}
}

func TestNewTrustTellsTheSameErrorEachTime(t *testing.T) {
	a, b, c := entry(t, "a.example"), entry(t, "b.example", "a.example"), entry(t, "c.example", "b.example")
	_, want := NewTrust(a, b, c)
	for _, ps := range [][]*Platform{{c, b, a}, {b, a, c}} {
		if _, err := NewTrust(ps...); err == nil || err.Error() != want.Error() {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

func TestKeyByKid(t *testing.T) {
	p := entry(t, "a.example")
	p.Keys[0].ID = "2026-1"
	for kid, want := range map[string]bool{"2026-1": true, "": false, "2026-2": false, "2026-1 ": false} {
		if k, ok := p.Key(kid); ok != want || ok != (k != nil) {
			t.Errorf("Key(%q): got %v, %v", kid, k, ok)
		}
	}
	p.Keys[0].ID = "" // a single key without kid
	if k, ok := p.Key(""); ok {
		t.Errorf("Key of no kid: got %v", k)
	}
}

func TestKeysForAreTheNewestSixteen(t *testing.T) {
	p := &Platform{Domain: host(t, "a.example")}
	for i := range 20 {
		p.Keys = append(p.Keys, &Key{ID: fmt.Sprintf("k%02d", i), Public: &ecKey(t, elliptic.P256()).PublicKey, NotBefore: day0.Add(time.Duration(i/2) * day)})
	}
	p.Keys = append(p.Keys, &Key{ID: "rsa", Public: &rsaKey().PublicKey}, &Key{ID: "384", Public: &ecKey(t, elliptic.P384()).PublicKey},
		&Key{ID: "open", Public: &ecKey(t, elliptic.P256()).PublicKey})
	var got []string
	for _, k := range p.KeysFor(ES256) {
		got = append(got, k.ID)
	}
	// Two keys a day, so ties are settled by kid.
	want := "k18 k19 k16 k17 k14 k15 k12 k13 k10 k11 k08 k09 k06 k07 k04 k05"
	if strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if p.Keys[0].ID != "k00" {
		t.Error("the order of the entry changed")
	}
	for a, want := range map[Alg]int{PS384: 1, ES384: 1, ES512: 0, "none": 0, "": 0} {
		if got := len(p.KeysFor(a)); got != want {
			t.Errorf("KeysFor(%q): got %d keys, want %d", a, got, want)
		}
	}
	var open Platform
	open.Keys = p.Keys[len(p.Keys)-1:]
	if got := open.KeysFor(ES256); len(got) != 1 {
		t.Errorf("got %v", got)
	}
}

func TestMayIssueFor(t *testing.T) {
	for _, c := range []struct {
		issuer   bool
		carriers []string
		code     string
		want     bool
	}{
		{false, nil, "MAEU", false}, {false, []string{"MAEU"}, "MAEU", false}, {true, nil, "MAEU", true}, {true, nil, "", true},
		{true, []string{"MAEU"}, "MAEU", true}, {true, []string{"MAEU"}, "HLCU", false}, {true, []string{"MAEU"}, "maeu", false},
		{true, []string{"MAEU"}, "", false},
	} {
		p := Platform{Issuer: c.issuer, Carriers: c.carriers}
		if got := p.MayIssueFor(c.code); got != c.want {
			t.Errorf("issuer %v, carriers %v, %q: got %v, want %v", c.issuer, c.carriers, c.code, got, c.want)
		}
	}
}
