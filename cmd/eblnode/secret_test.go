package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

// OPS-11: no flag of any command takes a secret: arguments are seen by everybody on the
// machine, and kept in the histories of shells. A file that holds one is named instead.
func TestNoSecretIsAnArgument(t *testing.T) {
	secret := regexp.MustCompile(`(?i)token|secret|password|passphrase|\bpin\b|private`)
	flagName, seen := regexp.MustCompile(`(?m)^ +(?:-\w, |    )--([a-z0-9-]+)`), 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, m := range flagName.FindAllStringSubmatch(c.Flags().FlagUsages(), -1) {
			seen++
			if name := m[1]; secret.MatchString(name) && !strings.HasSuffix(name, "-file") {
				t.Errorf("%s --%s takes a secret as its value", c.CommandPath(), name)
			}
		}
		if secret.MatchString(c.Use) && strings.Contains(c.Use, "TOKEN") && !strings.Contains(c.Use, "FILE") {
			t.Errorf("%s takes a secret as an argument", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk((&app{}).root())
	if seen < 50 {
		t.Errorf("only %d flags were looked at", seen)
	}
}

// A server that sends us elsewhere gets the token of its own user and nobody else does.
func TestRedirectGetsNoToken(t *testing.T) {
	var stolen atomic.Int64
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stolen.Add(1)
		_, _ = w.Write([]byte(`{"ebls":[]}`))
	}))
	defer thief.Close()
	lying := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer lying.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("ebl_secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errOut, code := do(t, "list", "--url", lying.URL, "--token-file", token)
	if code != 3 || stolen.Load() != 0 || strings.Contains(out+errOut, "ebl_secret") {
		t.Errorf("got exit code %d, %d requests elsewhere, %s%s; want 3, none, and no token shown", code, stolen.Load(), out, errOut)
	}
}

// OPS-11: at its most talkative a node writes no token, no webhook's secret and no private
// key, also where something about them is wrong.
func TestNothingSecretIsWritten(t *testing.T) {
	script := `
exec eblnode init --data n --domain a.example --listen-peer 127.0.0.1:0 --listen-local 127.0.0.1:0 --issuer
exec eblnode user add acme --role issuer --data n --token-file acme.token
env EBLNODE_LOG_LEVEL=debug
exec eblnode serve --data n &n&
await n
setline TOKEN acme.token
# a part of it that is not punctuation
exec sh -c 'sed -n 3p n/keys/signing-*.key | grep -o "[A-Za-z0-9]\{6,\}" | head -n 1'
setline KEY stdout
exec eblnode webhook add http://127.0.0.1:1/x --secret-file hook.secret --data n
exec sh -c 'sed s/^whsec_// hook.secret | grep -o "[A-Za-z0-9]\{6,\}" | head -n 1'
setline SECRET stdout
exec eblnode issue bl.json --to acme@a.example --data n --token-file acme.token
setline BILL stdout
exec eblnode show $BILL --data n --token-file acme.token
code 1 eblnode show $BILL --data n --token-file wrong.token
! stderr wrongtoken
code 1 eblnode transfer $BILL --to x@stranger.example --data n --token-file acme.token
! stderr $TOKEN
exec sh -c 'cat /proc/$(sed -n "s/.*\"pid\": \([0-9]*\).*/\1/p" n/run.json)/cmdline /proc/$(sed -n "s/.*\"pid\": \([0-9]*\).*/\1/p" n/run.json)/environ | tr "\0" "\n"'
stdout serve
! stdout $TOKEN
! stdout $SECRET
! stdout $KEY
kill -INT n
wait n
stderr 'status=401'
! stderr $TOKEN
! stderr $SECRET
! stderr $KEY
! stderr wrongtoken
! stdout $TOKEN
-- bl.json --
{"transportDocumentReference":"A-1","carrierCode":"ALPH","isToOrder":true}
-- wrong.token --
ebl_wrongtoken
`
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("no /proc")
	}
	file := filepath.Join(t.TempDir(), "secret.txtar")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	runScripts(t, testscript.Params{Files: []string{file}})
}
