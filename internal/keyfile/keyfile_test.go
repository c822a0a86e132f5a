package keyfile

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eblnode/identity"
)

var day0 = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// key is one with a certificate from and until so many days after day0.
func key(t *testing.T, name string, from, until int, note Note) Key {
	t.Helper()
	priv, err := identity.GenerateKey(identity.ES256)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := identity.NewSelfSigned(priv, identity.CertificateSpec{Subject: name, NotBefore: day0.Add(time.Duration(from) * day), NotAfter: day0.Add(time.Duration(until) * day)})
	if err != nil {
		t.Fatal(err)
	}
	return Key{Use: TLS, Name: name, Chain: []*x509.Certificate{cert}, Private: priv, Note: note}
}

func put(t *testing.T, folder string, k Key) {
	t.Helper()
	text, err := identity.MarshalPrivateKey(k.Private)
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{PrivateFile(folder, k.Use, k.Name): text, CertificateFile(folder, k.Use, k.Name): CertificatesPEM(k.Chain...)} {
		if err := WriteNew(path, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := WriteNote(folder, k.Use, k.Name, k.Note); err != nil {
		t.Fatal(err)
	}
}

func TestWhichKeyIsUsedWhen(t *testing.T) {
	at := func(n int) time.Time { return day0.Add(time.Duration(n) * day) }
	public := key(t, "public", 0, 300, Note{From: at(1)})
	public.Private = nil
	keys := []Key{
		key(t, "first", 0, 100, Note{}),
		key(t, "second", 5, 200, Note{From: at(50)}),
		key(t, "third", 5, 60, Note{From: at(20)}),
		key(t, "stolen", 0, 300, Note{From: at(2), Revoked: at(3)}),
		key(t, "bank", 0, 30, Note{From: at(40), Peer: "bank.example"}),
		public,
	}
	for _, c := range []struct {
		day  int
		peer string
		want string
	}{
		{0, "", "first"}, {19, "", "first"}, {20, "", "third"}, {49, "", "third"}, {50, "", "second"}, {61, "", "second"}, {150, "", "second"},
		{201, "", "second"},               // run out: the last one, so that whoever sees it says so
		{-5, "", "second"},                // none is valid yet
		{10, "bank.example", "first"},     // that one's turn has not come
		{25, "other.example", "third"},    // it is not for others
		{45, "bank.example", "third"},     // it has run out when its turn comes
		{25, "bank.example", "third"},     // nor has its turn come
		{201, "nobody.example", "second"}, //
	} {
		got := Current(keys, at(c.day), c.peer)
		if got == nil || got.Name != c.want && c.day != -5 {
			t.Errorf("day %d, peer %q: got %+v, want %s", c.day, c.peer, got, c.want)
		}
	}
	bank := []Key{keys[0], key(t, "bank", 0, 30, Note{From: at(10), Peer: "bank.example"})}
	for d, want := range map[int]string{9: "first", 10: "bank", 30: "bank", 31: "first"} {
		if got := Current(bank, at(d), "bank.example"); got.Name != want {
			t.Errorf("day %d at the bank: got %s, want %s", d, got.Name, want)
		}
	}
	if got := Current([]Key{public}, day0, ""); got != nil {
		t.Errorf("without a private half: got %+v, want none", got)
	}
	if got, want := Until(keys, at(30), ""), at(200).Add(time.Second); !got.Equal(want) {
		t.Errorf("until: got %s, want %s", got, want)
	}
	if got := Until(keys, at(300), ""); !got.Equal(at(300)) {
		t.Errorf("after the last: got %s, want that very time", got)
	}
}

func TestFolderOfKeys(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "keys")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	one, two := key(t, "one", 0, 100, Note{}), key(t, "two", 0, 100, Note{From: day0.Add(day), Peer: "bank.example"})
	put(t, folder, one)
	put(t, folder, two)
	if err := os.Remove(PrivateFile(folder, TLS, "one")); err != nil {
		t.Fatal(err)
	}
	got, err := Load(folder, TLS, &Access{})
	if err != nil || len(got) != 2 {
		t.Fatalf("got %+v, %v, want two keys", got, err)
	}
	if got[0].Private != nil || got[1].Private == nil || got[1].Note != two.Note {
		t.Errorf("got %+v, want one without a private half, and two as it was written", got)
	}
	if none, err := Load(folder, Signing, &Access{}); err != nil || len(none) != 0 {
		t.Errorf("signing: got %+v, %v, want none", none, err)
	}
	for name, c := range map[string]struct {
		file string
		text string
		mode os.FileMode
		want string
	}{
		"a note with an unknown member":  {NoteFile(folder, TLS, "two"), `{"form":"2027-01-01T00:00:00Z"}`, 0o600, "unknown field"},
		"a note that is none":            {NoteFile(folder, TLS, "two"), `x`, 0o600, "invalid"},
		"a certificate that is none":     {CertificateFile(folder, TLS, "two"), "x", 0o600, "no certificate in PEM form"},
		"the certificate of another key": {CertificateFile(folder, TLS, "two"), string(CertificatesPEM(one.Chain...)), 0o600, "is not the key of"},
		"a key that others can read":     {PrivateFile(folder, TLS, "two"), "", 0o640, "is open to others (mode 640); run: chmod 600"},
		"a key that is none":             {PrivateFile(folder, TLS, "two"), "x", 0o600, "not PEM"},
		"a key of two megabytes":         {PrivateFile(folder, TLS, "two"), strings.Repeat("x", 2<<20), 0o600, "more than 1048576"},
	} {
		before, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		text := []byte(c.text)
		if c.text == "" {
			text = before
		}
		if err := os.WriteFile(c.file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(c.file, c.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(folder, TLS, &Access{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if err := Replace(c.file, before); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Load(folder, TLS, &Access{}); err != nil {
		t.Errorf("with everything back: %v", err)
	}
	before := Stamp(folder)
	if err := Replace(filepath.Join(folder, "tls-x.crt"), []byte("x")); err != nil || Stamp(folder) == before {
		t.Errorf("a new file does not change the stamp (%v)", err)
	}
	if err := WriteNew(CertificateFile(folder, TLS, "two"), nil); err == nil {
		t.Error("a file was overwritten")
	}
}

// TestNamesThatAreNoFileNames: a name of a key becomes a path and a kid.
func TestNamesThatAreNoFileNames(t *testing.T) {
	for _, name := range []string{"", "..", ".hidden", "a/b", `a\b`, "a b", "-x", "é", "a\n", "*", strings.Repeat("x", 65)} {
		if CheckName(name) == nil {
			t.Errorf("%q: no error", name)
		}
	}
	for _, name := range []string{"2027-01", "a_b.c", "X"} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}
